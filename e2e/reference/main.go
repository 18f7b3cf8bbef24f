// Command reference runs the kubelet's own server, to which the tests compare fauxlet. Authentication,
// authorization, TLS and configuration are the code of the required version of k8s.io/kubernetes. Pods and logs come
// from files; no container runs.
//
// The kubelet does not export the functions of pkg/kubelet and cmd/kubelet/app that assemble these parts. Command
// reference assembles them in the same order. It accepts the kubelet's flags, and four more: --pods, --logs,
// --node-logs and --ready-file.
//
// The same sources make the servers of older minors of Kubernetes, whose answers `make record` records. The build tag
// before132, for example, is set for every minor before 1.32. Without a tag the program is of the version that
// e2e/go.mod requires.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/healthz"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	_ "k8s.io/component-base/metrics/prometheus/version" // kubernetes_build_info, as in cmd/kubelet
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/pkg/features"
	kubeletmetrics "k8s.io/kubernetes/pkg/kubelet/metrics"
	servermetrics "k8s.io/kubernetes/pkg/kubelet/server/metrics"
	netutils "k8s.io/utils/net"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := loadOptions(ctx, args)
	if err != nil {
		return err
	}
	config := &o.config
	nodeName, err := nodeutil.GetHostname(o.flags.HostnameOverride)
	if err != nil {
		return err
	}

	var client kubernetes.Interface
	if o.flags.KubeConfig != "" {
		restConfig, err := clientcmd.BuildConfigFromFlags("", o.flags.KubeConfig)
		if err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
		restConfig.QPS, restConfig.Burst, restConfig.ContentType = float32(config.KubeAPIQPS), int(config.KubeAPIBurst),
			config.ContentType
		if client, err = kubernetes.NewForConfig(restConfig); err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
	}
	auth, watchClientCA, err := app.BuildAuth(types.NodeName(nodeName), client, *config)
	if err != nil {
		return err
	}
	watchClientCA(ctx.Done())
	tlsConfig, err := newTLSConfig(ctx, o, auth)
	if err != nil {
		return err
	}
	if err := registerConfigz(config); err != nil {
		return err
	}
	kubeletmetrics.Register()
	servermetrics.Register()
	utilfeature.DefaultMutableFeatureGate.AddMetrics()

	host, err := newHost(o.pods, o.logs, o.nodeLogs,
		config.EnableSystemLogQuery && utilfeature.DefaultFeatureGate.Enabled(features.NodeLogQuery))
	if err != nil {
		return err
	}
	analyzer := newAnalyzer(ctx, host)
	removeFiles, err := host.measure(ctx, host.pods, nodeName, config, analyzer)
	if err != nil {
		return err
	}
	defer removeFiles()
	if host.containers, err = newStreamed(host.store); err != nil {
		return err
	}
	tracers := newTracers()
	address := netutils.ParseIPSloppy(config.Address)
	open := addresses{Secure: net.JoinHostPort(address.String(), strconv.Itoa(int(config.Port)))}
	go serve(ctx, host, analyzer, o, tlsConfig, auth, tracers)
	if config.ReadOnlyPort > 0 {
		open.ReadOnly = net.JoinHostPort(address.String(), strconv.Itoa(int(config.ReadOnlyPort)))
		go serveReadOnly(ctx, host, analyzer, o, address, tracers)
	}
	if config.HealthzPort > 0 { // (kubelet: cmd/kubelet/app/server.go, run)
		healthy := http.NewServeMux()
		healthz.InstallHandler(healthy)
		go wait.UntilWithContext(ctx, func(context.Context) {
			err := http.ListenAndServe(
				net.JoinHostPort(config.HealthzBindAddress, strconv.Itoa(int(config.HealthzPort))),
				healthy)
			klog.FromContext(ctx).Error(err, "Failed to start healthz server")
		}, 5*time.Second)
	}
	if err := open.wait(ctx); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Ready", "secure", open.Secure, "readOnly", open.ReadOnly)
	if o.ready != "" {
		if err := open.write(o.ready); err != nil {
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	<-ctx.Done()
	return nil
}

// addresses has the listening addresses. Its JSON has the same format as the file that `fauxlet serve --ready-file`
// writes.
type addresses struct {
	Secure   string `json:"secure,omitempty"`
	ReadOnly string `json:"readOnly,omitempty"`
}

// wait dials the servers until they accept connections, because the servers do not report when they listen.
func (a *addresses) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, address := range []string{a.Secure, a.ReadOnly} {
		for address != "" {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("nothing listens on %s: %w", address, err)
			}
		}
	}
	return nil
}

// write writes the addresses to a file. It replaces the file atomically, so that no reader finds a part of the
// content.
func (a *addresses) write(path string) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
