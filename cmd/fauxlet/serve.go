package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/featuregate"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/pods"
	"fauxlet/server"
)

func newServe() *cobra.Command {
	kubelet := config.NewFlags()
	kubelet.Strict = true
	var serve serving
	c := &cobra.Command{
		Use:   "serve",
		Short: "Stand in for a kubelet, with the kubelet's own flags and configuration file",
		Long: text(`
			serve listens where a kubelet listens and answers as a kubelet answers. It takes the kubelet's own flags and
			configuration file, with the kubelet's own defaults: those of the file where --config is given (webhook on,
			anonymous off, authorization by Webhook, no read-only port), and the older ones of the flags where it is not
			(anonymous on, AlwaysAllow, read-only port 10255). Flags win over --config-dir, which wins over --config.

			Flags of a kubelet that mean nothing without a container runtime are taken too, and named once in the log; they
			are not listed here.

			Tokens and users are reviewed by the apiserver of --kubeconfig; the credential of a node will do.

			SIGTERM and Ctrl-C end followed logs, let other requests finish, and stop; a second one stops at once.`),
		Example: example(`
			# As the node's kubelet would be started.
			fauxlet serve --config /var/lib/kubelet/config.yaml --kubeconfig /etc/kubernetes/kubelet.conf --hostname-override node-1

			# With pods, on a port that is free.
			fauxlet serve --config kubelet.yaml --kubeconfig kubelet.conf --scenario scenario.yaml --port 0

			# A kubelet of flags alone: anonymous on, AlwaysAllow, 10255 open.
			fauxlet serve --cert-dir /tmp/pki`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := kubelet.Load()
			if err != nil {
				return err
			}
			return serve.run(c.Context(), cfg, c.ErrOrStderr())
		},
	}
	kubelet.AddTo(c.Flags())
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = !kubelet.Means(flag.Name)
		// To a kubelet, all flags that its file has too are deprecated. Its help is full of that.
		flag.Deprecated = ""
		flag.Usage, _, _ = strings.Cut(flag.Usage, " (DEPRECATED: ")
	})
	c.Flags().Lookup("feature-gates").Usage = "Feature gates, as key=value pairs. All those of a kubelet are known; these change something here: ComponentFlagz, ComponentStatusz, ContainerCheckpoint, ExtendWebSocketsToKubelet, KubeletAllocatedPodsEndpoint, NodeLogQuery, PodLogsQuerySplitStreams, ReloadKubeletClientCAFile, ReloadKubeletServerCertificateFile, RotateKubeletServerCertificate."
	serve.addTo(c)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{config.FlagError(err), c.CommandPath()}
	})
	return c
}

// serving is what serve and demo share: from a configuration to a server that has stopped.
type serving struct {
	scenario  string
	readyFile string
	log       logFlags

	// logger, ready and observe are demo's: a logger that there is already, what to call once the ports are open, and
	// who sees the Decisions.
	logger  *zap.Logger
	ready   func(addresses)
	observe func(*authchain.Decision)
}

func (s *serving) addTo(c *cobra.Command) {
	c.Flags().StringVar(&s.scenario, "scenario", "", "file of the pods that stand in for the node's, with their logs, ports, usage and answers to exec (apiVersion: fauxlet/v1alpha1, kind: Scenario)")
	c.Flags().StringVar(&s.readyFile, "ready-file", "", "file to write, as JSON, the addresses that are listened on, once they are")
	s.log.addTo(c.Flags())
}

// addresses are what a server listens on; empty where it does not.
type addresses struct {
	Secure   string `json:"secure,omitempty"`
	ReadOnly string `json:"readOnly,omitempty"`
}

func (s *serving) run(ctx context.Context, cfg *config.Config, stderr io.Writer) error {
	logger := s.logger
	if logger == nil {
		var err error
		if logger, err = s.log.newLogger(stderr, int(cfg.Kubelet.Logging.Verbosity)); err != nil {
			return err
		}
	}
	for _, warning := range cfg.Warnings {
		logger.Warn(warning)
	}
	if len(cfg.Ignored) > 0 {
		logger.Info("these flags of a kubelet mean nothing to fauxlet, or not yet, and are ignored", zap.Strings("flags", cfg.Ignored))
	}

	if err := setLibraryGates(cfg); err != nil {
		return err
	}
	store, nodeLogs, err := loadScenario(s.scenario)
	if err != nil {
		return err
	}
	tokens, access, err := reviewers(cfg)
	if err != nil {
		return err
	}
	standin, err := server.New(server.Options{
		Config: cfg, TokenReviews: tokens, AccessReviews: access, Pods: store, NodeLogs: nodeLogs, Logger: logger, Observe: s.observe,
	})
	if err != nil {
		return err
	}
	listeners, err := standin.Listen()
	if err != nil {
		return err
	}

	var open addresses
	if listeners.Secure != nil {
		open.Secure = listeners.Secure.Addr().String()
	}
	if listeners.ReadOnly != nil {
		open.ReadOnly = listeners.ReadOnly.Addr().String()
	}
	logger.Info("serving", zap.String("node", cfg.NodeName), zap.String("secure", open.Secure), zap.String("readOnly", open.ReadOnly), zap.Int("pods", len(store.List())))
	if s.readyFile != "" {
		if err := writeReadyFile(s.readyFile, open); err != nil {
			listeners.Close()
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	if s.ready != nil {
		s.ready(open)
	}
	if err := standin.Serve(ctx, listeners); err != nil {
		return err
	}
	logger.Info("stopped")
	return nil
}

// setLibraryGates sets, for the process, the feature gates that k8s.io/apiserver asks by itself. In a kubelet they are the
// same as its own.
func setLibraryGates(cfg *config.Config) error {
	kubelet, ok := cfg.FeatureGates.(featuregate.MutableFeatureGate)
	if !ok {
		return nil
	}
	library := utilfeature.DefaultMutableFeatureGate
	known, set := library.GetAll(), map[string]bool{}
	for gate := range kubelet.GetAll() {
		if _, shared := known[gate]; shared && kubelet.Enabled(gate) != library.Enabled(gate) {
			set[string(gate)] = kubelet.Enabled(gate)
		}
	}
	return library.SetFromMap(set)
}

// writeReadyFile writes the file whole or not at all, so that whoever waits for it can read it at once.
func writeReadyFile(path string, open addresses) error {
	data, err := json.Marshal(open)
	if err != nil {
		return err
	}
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// loadScenario makes the pods of a scenario, and gives the node's own logs; no scenario, no pods.
func loadScenario(path string) (*pods.Store, map[string]string, error) {
	if path == "" {
		store, err := pods.NewStore()
		return store, nil, err
	}
	scenario, err := config.LoadScenario[pods.Container](path, false)
	if err != nil {
		return nil, nil, fmt.Errorf("--scenario: %w", err)
	}
	var specs []pods.Spec
	for _, pod := range scenario.Pods {
		containers := scenario.ContainersOf(pod)
		for name, container := range containers {
			container.Log = beside(path, container.Log)
			containers[name] = container
		}
		specs = append(specs, pods.Spec{Pod: pod, Containers: containers})
	}
	store, err := pods.NewStore(specs...)
	if err != nil {
		return nil, nil, fmt.Errorf("--scenario: scenario %s: %w", path, err)
	}
	return store, scenario.NodeLogs, nil
}

// beside is log with its files where the scenario that names them is.
func beside(scenario string, log pods.Log) pods.Log {
	if log.File != "" && !filepath.IsAbs(log.File) {
		log.File = filepath.Join(filepath.Dir(scenario), log.File)
	}
	if log.Previous != nil {
		previous := beside(scenario, *log.Previous)
		log.Previous = &previous
	}
	return log
}

// reviewers are the clients of the apiserver that the kubeconfig names, nil where there is none.
func reviewers(cfg *config.Config) (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
	if cfg.Kubeconfig == "" {
		return nil, nil, nil
	}
	if _, err := os.Stat(cfg.Kubeconfig); err != nil {
		if cfg.BootstrapKubeconfig != "" {
			return nil, nil, fmt.Errorf("--bootstrap-kubeconfig: fauxlet does not ask for a client certificate yet; give a --kubeconfig that exists (%w)", err)
		}
		return nil, nil, fmt.Errorf("--kubeconfig: invalid kubeconfig: %w", err)
	}
	client, err := clientcmd.BuildConfigFromFlags("", cfg.Kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubeconfig: invalid kubeconfig: %w", err)
	}
	kubelet := &cfg.Kubelet
	client.UserAgent = "fauxlet/" + buildVersion()
	client.Burst = int(kubelet.KubeAPIBurst)
	if kubelet.KubeAPIQPS != nil {
		client.QPS = float32(*kubelet.KubeAPIQPS)
	}
	client.ContentType = kubelet.ContentType
	if client.ContentType == runtime.ContentTypeProtobuf {
		client.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	transport, err := rest.HTTPClientFor(client)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubeconfig: invalid kubeconfig: %w", err)
	}
	tokens, err := authenticationv1.NewForConfigAndClient(client, transport)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	access, err := authorizationv1.NewForConfigAndClient(client, transport)
	if err != nil {
		return nil, nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return tokens, access, nil
}
