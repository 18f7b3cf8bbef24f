package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"fauxlet/config"
	"fauxlet/conformance"
	"fauxlet/conformance/probe"
	"fauxlet/internal/color"
	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
	"fauxlet/internal/kubeconfig"
)

func newProbe() *cobra.Command {
	var p probeCommand
	c := &cobra.Command{
		Use: "probe URL | NODE...",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case probesNodes(c.Flags()):
				return p.runNodes(c, args)
			case len(args) == 0:
				return usagef(c, "give the URL of a kubelet, as in https://192.168.0.7:10250; or --kubeconfig with the "+
					"names of nodes; or --all-nodes")
			}
			options, err := p.options(c, args[0])
			if err != nil {
				return err
			}
			return p.run(c.Context(), options, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&p.given.ClientCert, "client-cert", "", "client certificate to send, in PEM")
	flags.StringVar(&p.given.ClientKey, "client-key", "", "key of --client-cert")
	flags.StringVar(&p.given.TokenFile, "token-file", "", "file with a bearer token to send")
	flags.StringVar(&p.given.Kubeconfig, "kubeconfig", "", "kubeconfig with the user to authenticate as, by client "+
		"certificate, token or both; with NODE or --all-nodes, the kubeconfig of the cluster (default: as for kubectl)")
	flags.BoolVar(&p.allNodes, "all-nodes", false, "probe all nodes of the cluster, at the addresses in their status")
	flags.BoolVar(&p.throughAPIServer, "through-apiserver", false, "send the requests through nodes/proxy of "+
		"kube-apiserver, which hides much, instead of connecting to kubelets")
	flags.StringVar(&p.context, "context", "", "context of the kubeconfig of the cluster (default: its current context)")
	flags.IntVar(&p.concurrency, "concurrency", 10, "number of nodes to probe at the same time")
	helptext.UnderHeading(flags, "Nodes of a cluster", "all-nodes", "through-apiserver", "context", "concurrency")
	flags.StringArrayVar(&p.as, "as", nil, "identity to send requests as: NAME=KIND:FILE,KIND:FILE..., where KIND is "+
		"client-cert, client-key, token-file or kubeconfig; may be repeated")
	helptext.UnderHeading(flags, "Identities", "client-cert", "client-key", "token-file", "kubeconfig", "as")
	flags.StringVar(&p.ca, "ca", "", "PEM file of the CAs that verify the serving certificate")
	flags.StringVar(&p.serverName, "server-name", "", "name or address to verify in the serving certificate (default: "+
		"the host of URL)")
	flags.BoolVar(&p.insecure, "insecure-skip-tls-verify", false, "send tokens even if the kubelet is not verified; "+
		"another server in its place could use them")
	flags.IntVar(&p.readOnlyPort, "read-only-port", probe.DefaultReadOnlyPort, "read-only port to probe too; 0 probes "+
		"none")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Second, "limit for each connection, handshake and request")
	flags.BoolVar(&p.yes, "yes", false,
		"allow a public address that does not belong to this machine; probe only what is yours")
	flags.StringVarP(&p.output, "output", "o", "table", "table, json or junit")
	flags.StringVar(&p.compare.File, "compare", "", "KubeletConfiguration to compare the kubelet with")
	flags.StringVar(&p.compare.ClientCAFile, "compare-client-ca", "", "file to use instead of the "+
		"authentication.x509.clientCAFile in the --compare file, for example a local copy of it")
	flags.StringVar(&p.compareKubeconfig, "compare-kubeconfig", "", "kubeconfig of the apiserver that reviews tokens "+
		"and permissions. Its user must be allowed to create tokenreviews and subjectaccessreviews. All tokens (of "+
		"--token-file, --kubeconfig and --as) are sent to it")
	flags.StringVar(&p.compare.NodeName, "compare-node-name", "", "name of the node in reviews (default: from the "+
		"serving certificate)")
	addEmulateVersion(c, &p.version)
	emulated := flags.Lookup("emulate-version")
	emulated.DefValue, emulated.Usage = "", "with --compare: the `version` of Kubernetes whose kubelet has the "+
		"configuration (default: the version that the kubelet reports)"
	helptext.UnderHeading(flags, "Comparison", "compare", "compare-client-ca", "compare-kubeconfig", "compare-node-name",
		"emulate-version")
	completeFlag(c, "output", conformance.Formats()...)
	return c
}

type probeCommand struct {
	given                           probe.CredentialFiles
	as                              []string
	ca, serverName, context, output string
	insecure, yes, allNodes         bool
	throughAPIServer                bool
	readOnlyPort, concurrency       int
	timeout                         time.Duration
	compare                         probe.CompareOptions
	compareKubeconfig               string
	version                         config.Version
}

// The method "options" validates the URL and the flags. It reads no files; the method "probe" does.
func (p *probeCommand) options(c *cobra.Command, url string) (probe.Options, error) {
	if c.Flags().Changed("emulate-version") {
		p.compare.Version = &p.version
	}
	target, err := probe.ParseTarget(url)
	o := probe.Options{Target: target, AllowPublicAddresses: p.yes, ServerName: p.serverName,
		SendTokensUnverified: p.insecure, ReadOnlyPort: p.readOnlyPort, Timeout: p.timeout,
		ThroughAPIServer: p.throughAPIServer}
	switch {
	case err != nil:
		return o, usagef(c, "%w", err)
	case p.timeout <= 0:
		return o, usagef(c, "--timeout: %v: must be more than 0", p.timeout)
	case p.readOnlyPort < 0 || p.readOnlyPort > 65535:
		return o, usagef(c, "--read-only-port: %d: must be from 0 to 65535; with 0, the read-only port is not probed",
			p.readOnlyPort)
	}
	return o, checkOneOf(c, "output", p.output, conformance.Formats()...)
}

func (p *probeCommand) run(ctx context.Context, options probe.Options, stdout, stderr io.Writer) error {
	// The option --compare starts a stand-in kubelet in this process. Its log is discarded, because its log lines would
	// appear between the lines of the report, and could contain texts from the apiserver that reviews tokens.
	klog.SetLogger(logr.Discard())
	report, err := p.probe(ctx, options, stderr)
	if err != nil {
		return &exitError{err, exitIncomplete}
	}
	if err := report.Write(stdout, p.output); err != nil {
		return &exitError{err, exitIncomplete}
	}
	switch {
	case !report.HasResponses():
		return &exitError{fmt.Errorf("%s: the secure port answered no request; %s", report.URL, report.TLS.Error),
			exitIncomplete}
	case report.Dangerous():
		return errors.New("the probe found something dangerous; the report shows what")
	case report.Differs():
		return errors.New("the kubelet differs from the configuration in --compare")
	}
	return nil
}

func (p *probeCommand) probe(ctx context.Context, options probe.Options, stderr io.Writer) (*probe.Report, error) {
	err := options.ReadFiles(p.given, p.as, p.ca)
	if err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if options.Compare, err = p.comparison(); err != nil {
		return nil, err
	}
	progress := color.NewProgress(stderr)
	options.Progress = func(what string) { progress.Show(fmt.Sprintf("probing %s: %s", options.Target, what), "") }
	report, err := probe.Run(ctx, options)
	progress.Clear()
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("interrupted")
	case errors.Is(err, probe.ErrUnverified):
		return nil, fmt.Errorf("%w; give --ca with the CA of the serving certificate, and --server-name if the "+
			"certificate is not valid for the host of URL; or send the token to an unverified server with "+
			"--insecure-skip-tls-verify", err)
	case errors.Is(err, probe.ErrNoClientCA):
		return nil, fmt.Errorf("--compare: %w; copy the file to this machine, and give --compare-client-ca with the "+
			"copy", err)
	}
	return report, withFile("--compare", err)
}

// probesNodes reports whether the arguments are names of nodes. A name has no port; --kubeconfig distinguishes it from
// a host name.
func probesNodes(flags *pflag.FlagSet) bool {
	return slices.ContainsFunc([]string{"all-nodes", "context", "through-apiserver"}, flags.Changed) ||
		flags.NArg() > 1 || flags.Changed("kubeconfig") && flags.NArg() == 1 && !strings.ContainsAny(flags.Arg(0), ":/")
}

func (p *probeCommand) runNodes(c *cobra.Command, names []string) error {
	options, err := p.options(c, "node") // the probe replaces the target
	direct := []string{"as", "ca", "client-cert", "client-key", "insecure-skip-tls-verify", "token-file", "yes"}
	switch i := slices.IndexFunc(names, func(name string) bool { return strings.ContainsAny(name, ":/") }); {
	case err != nil:
		return err
	case i >= 0:
		return usagef(c, "%q is not the name of a node; a URL must be the only argument, without --context and --through-apiserver",
			names[i])
	case p.allNodes == (len(names) > 0):
		return usagef(c, "give either --all-nodes or the names of nodes")
	case p.concurrency < 1:
		return usagef(c, "--concurrency: %d: must be at least 1", p.concurrency)
	case p.compare.File != "" || p.serverName != "":
		return usagef(c, "--compare and --server-name: give them with the URL of one kubelet")
	case p.throughAPIServer && slices.ContainsFunc(direct, c.Flags().Changed):
		return usagef(c, "--%s have no effect with --through-apiserver: kube-apiserver connects to the kubelets",
			strings.Join(direct, ", --"))
	}
	cluster := kubeconfig.Source{Path: p.given.Kubeconfig, Context: p.context}
	p.given.Kubeconfig = ""
	klog.SetLogger(logr.Discard())
	config, _, err := cluster.Client(host.UserAgent(version))
	if err != nil {
		return &exitError{err, exitIncomplete}
	} else if err = options.ReadFiles(p.given, p.as, p.ca); err != nil {
		return &exitError{fmt.Errorf("--%w", err), exitIncomplete}
	}
	progress := color.NewProgress(c.ErrOrStderr())
	onNode := func(node probe.NodeReport, done, all int) {
		text := fmt.Sprintf("%d of %d nodes are done; the last is %s", done, all, node.Name)
		progress.Show(text, text)
	}
	report, err := probe.RunCluster(c.Context(), config, names, p.concurrency, options, onNode)
	progress.Clear()
	if err == nil {
		err = report.Write(c.OutOrStdout(), p.output)
	}
	switch {
	case err != nil:
		return &exitError{err, exitIncomplete}
	case report.Dangerous() > 0:
		return errors.New(report.Summary())
	case report.Unanswered()+report.Incomplete() > 0:
		return &exitError{errors.New(report.Summary()), exitIncomplete}
	}
	return nil
}

// comparison returns the options for --compare, or nil if the flag is not set.
func (p *probeCommand) comparison() (*probe.CompareOptions, error) {
	if p.compare.File == "" {
		if p.compareKubeconfig != "" || p.compare.ClientCAFile != "" || p.compare.NodeName != "" ||
			p.compare.Version != nil {
			return nil, errors.New("--compare-kubeconfig, --compare-client-ca, --compare-node-name and " +
				"--emulate-version require --compare")
		}
		return nil, nil
	}
	if p.compareKubeconfig == "" {
		return &p.compare, nil
	}
	config, _, err := kubeconfig.Source{Path: p.compareKubeconfig}.Client(host.UserAgent(version))
	if err != nil {
		return nil, fmt.Errorf("--compare-kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--compare-kubeconfig: %w", err)
	}
	p.compare.TokenReviews, p.compare.AccessReviews = client.AuthenticationV1(), client.AuthorizationV1()
	return &p.compare, nil
}
