// Command hollow is a kubelet of Kubernetes' own code as a node of a cluster, over a container runtime that is not there:
// what kubemark's hollow node is, with these differences. Its containers end as the pod says, where kubemark's run for
// ever; probes are made, where kubemark's always succeed; pods have cgroups to be read; and events are told, one a line. So
// what it reports of pods is what a kubelet reports.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	fakeremote "k8s.io/cri-client/pkg/fake"
	"k8s.io/klog/v2"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	containertest "k8s.io/kubernetes/pkg/kubelet/container/testing"
	"k8s.io/kubernetes/pkg/kubemark"
	utilflag "k8s.io/kubernetes/pkg/util/flag"

	cliflag "k8s.io/component-base/cli/flag"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "hollow:", err)
		os.Exit(1)
	}
}

func run() error {
	o := kubemark.HollowKubeletOptions{NodeLabels: map[string]string{}}
	labels := cliflag.ConfigurationMap(o.NodeLabels)
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "the node's own credential")
	static := flag.String("pod-manifest-path", "", "folder of static pods")
	ip := flag.String("node-ip", "", "the node's address")
	dir := flag.String("root-dir", "", "folder to make the kubelet's own folders in; empty: that of temporary files")
	flag.StringVar(&o.NodeName, "name", "hollow", "the node's name")
	flag.IntVar(&o.KubeletPort, "port", 0, "port of the kubelet's API")
	flag.IntVar(&o.MaxPods, "max-pods", 110, "how many pods the node takes")
	flag.Var(&labels, "node-labels", "labels of the node")
	flag.Var(utilflag.RegisterWithTaintsVar{Value: &o.RegisterWithTaints}, "register-with-taints", "taints of the node")
	flag.Parse()

	clientConfig, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	clientConfig.UserAgent = "hollow"
	clientConfig.QPS = -1 // a kubelet's is 50, by which it tells late of many pods that change at once
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return err
	}
	if *dir != "" {
		if err := os.Setenv("TMPDIR", *dir); err != nil {
			return err
		}
	}
	flags, config := kubemark.GetHollowKubeletConfig(&o)
	flags.NodeIP = *ip
	config.Address = "127.0.0.1"
	config.EnableControllerAttachDetach = true // as by default
	config.ProviderID = ""
	config.FileCheckFrequency.Duration = time.Second
	config.SyncFrequency.Duration = time.Second // a back-off that is over is seen soon
	if *static != "" {
		config.StaticPodPath = *static
	}
	heartbeat := *clientConfig
	heartbeat.Timeout, heartbeat.QPS = config.NodeStatusUpdateFrequency.Duration, -1 // as a kubelet's (cmd/kubelet/app)
	heartbeatClient, err := kubernetes.NewForConfig(&heartbeat)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	images := fakeremote.NewFakeRemoteRuntime().ImageService
	node := kubemark.NewHollowKubelet(flags, config, client, heartbeatClient, &cadvisortest.Fake{NodeName: o.NodeName},
		images, newRuntime(), cgroups{cm.NewStubContainerManager()})
	node.KubeletDeps.ProbeManager = nil // the kubelet makes its own
	node.KubeletDeps.OSInterface = &containertest.FakeOS{}
	// Any other recorder has the kubelet read /dev/kmsg, which is not everywhere.
	events := make(chan string)
	node.KubeletDeps.Recorder = &record.FakeRecorder{Events: events}
	go func() {
		for event := range events {
			fmt.Println("event:", event)
		}
	}()
	go node.Run(ctx) // which never returns
	<-ctx.Done()
	return nil
}
