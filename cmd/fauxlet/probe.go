package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"fauxlet/conformance/probe"
	"fauxlet/internal/color"
	"fauxlet/internal/kubeconfig"
)

func newProbe() *cobra.Command {
	var p probeCommand
	c := &cobra.Command{
		Use: "probe URL",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(c, "URL is required, as in https://192.168.0.7:10250")
			}
			return noArgs(c, args[1:])
		},
		RunE: func(c *cobra.Command, args []string) error {
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
		"certificate, token or both")
	flags.StringArrayVar(&p.as, "as", nil, "identity to send requests as: NAME=KIND:FILE,KIND:FILE..., where KIND is "+
		"client-cert, client-key, token-file or kubeconfig; may be repeated")
	underHeading(flags, "Identities", "client-cert", "client-key", "token-file", "kubeconfig", "as")
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
	flags.StringVarP(&p.output, "output", "o", "table", "table or json")
	flags.StringVar(&p.compare.File, "compare", "", "KubeletConfiguration to compare the kubelet with")
	flags.StringVar(&p.compare.ClientCAFile, "compare-client-ca", "", "file to use instead of the "+
		"authentication.x509.clientCAFile in the --compare file, for example a local copy of it")
	flags.StringVar(&p.compareKubeconfig, "compare-kubeconfig", "", "kubeconfig of the apiserver that reviews tokens "+
		"and permissions. Its user must be allowed to create tokenreviews and subjectaccessreviews. All tokens (of "+
		"--token-file, --kubeconfig and --as) are sent to it")
	flags.StringVar(&p.compare.NodeName, "compare-node-name", "", "name of the node in reviews (default: from the "+
		"serving certificate)")
	underHeading(flags, "Comparison", "compare", "compare-client-ca", "compare-kubeconfig", "compare-node-name")
	completeFlag(c, "output", "table", "json")
	return c
}

type probeCommand struct {
	given                  probe.CredentialFiles
	as                     []string
	ca, serverName, output string
	insecure, yes          bool
	readOnlyPort           int
	timeout                time.Duration
	compare                probe.CompareOptions
	compareKubeconfig      string
}

// The method "options" validates the URL and the flags. It reads no files; the method "probe" does.
func (p *probeCommand) options(c *cobra.Command, url string) (probe.Options, error) {
	target, err := probe.ParseTarget(url)
	o := probe.Options{Target: target, AllowPublicAddresses: p.yes, ServerName: p.serverName,
		SendTokensUnverified: p.insecure, ReadOnlyPort: p.readOnlyPort, Timeout: p.timeout}
	switch {
	case err != nil:
		return o, usagef(c, "%w", err)
	case p.timeout <= 0:
		return o, usagef(c, "--timeout: %v: must be more than 0", p.timeout)
	case p.readOnlyPort < 0 || p.readOnlyPort > 65535:
		return o, usagef(c, "--read-only-port: %d: must be from 0 to 65535; with 0, the read-only port is not probed",
			p.readOnlyPort)
	}
	return o, checkOneOf(c, "output", p.output, "table", "json")
}

func (p *probeCommand) run(ctx context.Context, options probe.Options, stdout, stderr io.Writer) error {
	// The option --compare starts a stand-in kubelet in this process. Its log is discarded, because its log lines would
	// appear between the lines of the report, and could contain texts from the apiserver that reviews tokens.
	klog.SetLogger(logr.Discard())
	report, err := p.probe(ctx, options, stderr)
	if err != nil {
		return &exitError{err, exitIncomplete}
	}
	write := report.WriteTable
	if p.output == "json" {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return &exitError{err, exitIncomplete}
	}
	switch {
	case !report.HasResponses():
		return &exitError{fmt.Errorf("%s: the secure port answered no request; %s", report.URL, report.TLS.Error), exitIncomplete}
	case report.Dangerous():
		return errors.New("the probe found something dangerous; the report shows what")
	case report.Differs():
		return errors.New("the kubelet differs from the configuration in --compare")
	}
	return nil
}

func (p *probeCommand) probe(ctx context.Context, options probe.Options, stderr io.Writer) (*probe.Report, error) {
	var err error
	if options.Identities, err = p.identities(); err != nil {
		return nil, err
	}
	if p.ca != "" {
		if options.CA, err = readPool(p.ca); err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
	}
	if options.Compare, err = p.comparison(); err != nil {
		return nil, err
	}
	done := func() {}
	if file, ok := stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		const clearLine = "\r\x1b[K"
		options.Progress = func(what string) {
			fmt.Fprintf(stderr, clearLine+"probing %s: %.60s", options.Target, color.Printable(what))
		}
		done = func() { fmt.Fprint(stderr, clearLine) }
	}
	report, err := probe.Run(ctx, options)
	done()
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

// comparison returns the options for --compare, or nil if the flag is not set.
func (p *probeCommand) comparison() (*probe.CompareOptions, error) {
	if p.compare.File == "" {
		if p.compareKubeconfig != "" || p.compare.ClientCAFile != "" || p.compare.NodeName != "" {
			return nil, errors.New("--compare-kubeconfig, --compare-client-ca and --compare-node-name require " +
				"--compare")
		}
		return nil, nil
	}
	if p.compareKubeconfig == "" {
		return &p.compare, nil
	}
	client, err := clusterClient(kubeconfig.Source{Path: p.compareKubeconfig})
	if err != nil {
		return nil, fmt.Errorf("--compare-kubeconfig: %w", err)
	}
	p.compare.TokenReviews, p.compare.AccessReviews = client.AuthenticationV1(), client.AuthorizationV1()
	return &p.compare, nil
}

func (p *probeCommand) identities() ([]probe.Identity, error) {
	var all []probe.Identity
	if p.given != (probe.CredentialFiles{}) {
		i, err := p.given.Identity("given")
		if err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
		all = append(all, *i)
	}
	for _, as := range p.as {
		name, files, found := strings.Cut(as, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--as %q: must be NAME=KIND:FILE, as in prometheus=token-file:prometheus.token", as)
		}
		c, err := probe.ParseCredentialFiles(files)
		if err != nil {
			return nil, fmt.Errorf("--as %s: %w", name, err)
		}
		i, err := c.Identity(name)
		if err != nil {
			return nil, fmt.Errorf("--as %s: %w", name, err)
		}
		all = append(all, *i)
	}
	return all, nil
}

func readPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: contains no certificate in PEM", file)
	}
	return pool, nil
}
