// Command hollow is a kubelet made of Kubernetes' own code. It joins a cluster as a node, but does not run real
// containers. TestSameNode runs hollow and fauxlet in one cluster and compares what they report.
//
// Command hollow is built from the parts of kubemark's hollow node, with four differences. Containers end as the pod
// specifies; in kubemark they run forever. Probes run; in kubemark they always succeed. Pods have cgroups. Events are
// printed, one per line. With these differences hollow reports the same pod statuses as a kubelet with real containers.
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
	clientConfig.QPS = -1 // no limit: with the default QPS of 50, hollow would report many changes late
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
	config.EnableControllerAttachDetach = true // the default
	config.ProviderID = ""
	config.FileCheckFrequency.Duration = time.Second
	config.SyncFrequency.Duration = time.Second // so that hollow notices the end of a back-off soon
	if *static != "" {
		config.StaticPodPath = *static
	}
	heartbeat := *clientConfig
	heartbeat.Timeout, heartbeat.QPS = config.NodeStatusUpdateFrequency.Duration, -1 // as in cmd/kubelet/app
	heartbeatClient, err := kubernetes.NewForConfig(&heartbeat)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	images := fakeremote.NewFakeRemoteRuntime().ImageService
	node := kubemark.NewHollowKubelet(flags, config, client, heartbeatClient, &cadvisortest.Fake{NodeName: o.NodeName},
		images, newRuntime(), cgroups{cm.NewStubContainerManager()})
	node.KubeletDeps.ProbeManager = nil // without a ProbeManager, the kubelet creates its usual one
	node.KubeletDeps.OSInterface = &containertest.FakeOS{}
	// The recorder must be a FakeRecorder. With any other recorder the kubelet reads /dev/kmsg, which does not exist on
	// every machine.
	events := make(chan string)
	node.KubeletDeps.Recorder = &record.FakeRecorder{Events: events}
	go func() {
		for event := range events {
			fmt.Println("event:", event)
		}
	}()
	go node.Run(ctx) // never returns
	<-ctx.Done()
	return nil
}
