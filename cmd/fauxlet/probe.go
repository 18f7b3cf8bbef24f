package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"fauxlet/conformance/probe"
)

func newProbe() *cobra.Command {
	var p probing
	c := &cobra.Command{
		Use:   "probe URL",
		Short: "Walk a real kubelet from outside: who may do what, what is set, what is dangerous",
		Long: text(`
			probe asks the kubelet at URL (https://HOST:PORT; the port is 10250 if it is left out) a fixed set of requests that
			change nothing and run nothing: without a credential, with a certificate of a CA that was made up a moment ago, with
			a made-up token, and with the credentials that it is given. It prints who may do what, the settings that this
			comes of, with the evidence ("unknown" where other settings would give the same answers), and what is dangerous, with
			the lines of the KubeletConfiguration that change it.

			What an identity has is named by flags, or by --as NAME=KIND:FILE,…, which may be repeated; the kinds are
			client-cert and client-key, token-file, and kubeconfig, of whose current context the user is taken. A token is sent
			only to a kubelet whose serving certificate --ca verifies: whoever else got it could use it.

			With --compare the kubelet is held against a stand-in of that configuration, which runs here meanwhile. What its
			answers depend on RBAC for is taken from the kubelet's own answers, or asked of the apiserver of
			--compare-kubeconfig.

			Addresses that are neither of this machine nor private are probed only with --yes.

			The exit code is 0 where nothing dangerous was found, 1 where something was, or where the kubelet is not as
			--compare has it, and 2 where it could not be probed.`),
		Example: example(`
			# Whoever can reach the port can do this much.
			fauxlet probe https://192.168.0.7:10250

			# As kube-apiserver and as Prometheus, whose token goes to nobody but a kubelet of the cluster's CA.
			fauxlet probe node-1 --ca ca.crt \
			  --as apiserver=client-cert:apiserver-kubelet-client.crt,client-key:apiserver-kubelet-client.key \
			  --as prometheus=token-file:prometheus.token

			# Is it as its configuration says?
			fauxlet probe node-1 --client-cert admin.crt --client-key admin.key --compare /var/lib/kubelet/config.yaml`),
		Args: func(c *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return usagef(c, "which kubelet? Give its URL, as in https://192.168.0.7:10250")
			case 1:
				return nil
			}
			return usagef(c, "unexpected argument %q", args[1])
		},
		RunE: func(c *cobra.Command, args []string) error {
			if p.output != "table" && p.output != "json" {
				return usagef(c, "--output: %q is neither table nor json", p.output)
			}
			if p.timeout <= 0 {
				return usagef(c, "--timeout: %v: must be more than 0", p.timeout)
			}
			if p.readOnlyPort < 0 || p.readOnlyPort > 65535 {
				return usagef(c, "--read-only-port: %d: it is a number from 1 to 65535, or 0 to look at none", p.readOnlyPort)
			}
			target, err := probe.ParseTarget(args[0])
			if err != nil {
				return usagef(c, "%w", err)
			}
			return p.run(c.Context(), target, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&p.given.ClientCert, "client-cert", "", "client certificate to send, in PEM")
	flags.StringVar(&p.given.ClientKey, "client-key", "", "key of --client-cert")
	flags.StringVar(&p.given.TokenFile, "token-file", "", "file with a bearer token to send")
	flags.StringVar(&p.given.Kubeconfig, "kubeconfig", "", "kubeconfig with the user to authenticate as, by client certificate, token or both")
	flags.StringArrayVar(&p.as, "as", nil, "somebody to ask as: NAME=KIND:FILE,KIND:FILE…, of the kinds client-cert, client-key, token-file and kubeconfig; may be repeated")
	flags.StringVar(&p.ca, "ca", "", "file of the CAs that verify the serving certificate, in PEM")
	flags.StringVar(&p.serverName, "server-name", "", "name or address that the serving certificate is verified for (the host of URL, if it is empty)")
	flags.BoolVar(&p.trust, "insecure-skip-tls-verify", false, "send tokens to a kubelet that is not verified, too: if it is somebody else's, they can use them")
	flags.IntVar(&p.readOnlyPort, "read-only-port", probe.DefaultReadOnlyPort, "read-only port to look at too; 0: none")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Second, "how long each connection, handshake and request may take")
	flags.BoolVar(&p.yes, "yes", false, "probe an address that is neither of this machine nor private: do that only to what is yours")
	flags.StringVarP(&p.output, "output", "o", "table", "table or json")
	flags.StringVar(&p.compare.File, "compare", "", "KubeletConfiguration to hold the kubelet against")
	flags.StringVar(&p.compare.ClientCAFile, "compare-client-ca", "", "copy of the file that its authentication.x509.clientCAFile names on the node")
	flags.StringVar(&p.compareKubeconfig, "compare-kubeconfig", "", "kubeconfig of the apiserver that says who a token is and what a user may; its user must be allowed to create tokenreviews and subjectaccessreviews. Tokens of --as are sent to it")
	flags.StringVar(&p.compare.NodeName, "compare-node-name", "", "name of the node that it is asked about (what the serving certificate says, if it is empty)")
	completeFlag(c, "output", "table", "json")
	return c
}

// probing is the command line of probe.
type probing struct {
	given                  probe.CredentialFiles
	as                     []string
	ca, serverName, output string
	trust, yes             bool
	readOnlyPort           int
	timeout                time.Duration
	compare                probe.CompareOptions
	compareKubeconfig      string
}

func (p *probing) run(ctx context.Context, target probe.Target, stdout, stderr io.Writer) error {
	// What the stand-in of --compare and its libraries log is not what was asked for, and may have a reviewer's words in it.
	klog.SetLogger(zapr.NewLogger(zap.NewNop()))
	options := probe.Options{
		Target: target, AllowPublicAddresses: p.yes, ServerName: p.serverName, SendTokensUnverified: p.trust, ReadOnlyPort: p.readOnlyPort, Timeout: p.timeout,
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
	}
	report, err := p.probe(ctx, options, stderr)
	if err != nil {
		return &exitError{err, 2}
	}
	write := report.WriteTable
	if p.output == "json" {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return &exitError{err, 2}
	}
	switch {
	case !report.HasResponses():
		return &exitError{fmt.Errorf("%s: no request was answered: %s", report.URL, report.FirstError()), 2}
	case report.Dangerous():
		return errors.New("something dangerous was found")
	case report.Differs():
		return errors.New("the kubelet is not as --compare has it")
	}
	return nil
}

func (p *probing) probe(ctx context.Context, options probe.Options, stderr io.Writer) (*probe.Report, error) {
	var err error
	if options.Identities, err = p.identities(); err != nil {
		return nil, err
	}
	if p.ca != "" {
		if options.CA, err = readPool(p.ca); err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
	}
	switch {
	case p.compare.File != "":
		options.Compare = &p.compare
		if p.compareKubeconfig != "" {
			client, err := reviewClient(p.compareKubeconfig)
			if err != nil {
				return nil, fmt.Errorf("--compare-kubeconfig: %w", err)
			}
			p.compare.TokenReviews, p.compare.AccessReviews = client.AuthenticationV1(), client.AuthorizationV1()
		}
	case p.compareKubeconfig != "" || p.compare.ClientCAFile != "" || p.compare.NodeName != "":
		return nil, errors.New("--compare-kubeconfig, --compare-client-ca and --compare-node-name say how to compare; give --compare FILE too")
	}
	done := func() {}
	if file, ok := stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		const clear = "\r\x1b[K"
		options.Progress = func(what string) { fmt.Fprintf(stderr, clear+"probing %s: %.60s", options.Target, what) }
		done = func() { fmt.Fprint(stderr, clear) }
	}
	report, err := probe.Run(ctx, options)
	done()
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("interrupted")
	case errors.Is(err, probe.ErrUnverified):
		return nil, fmt.Errorf("%w; give --ca FILE, the CA of the serving certificate, and --server-name where it is not for the host of URL, or --insecure-skip-tls-verify to send it all the same", err)
	case errors.Is(err, probe.ErrNoClientCA):
		return nil, fmt.Errorf("--compare: %w; copy it and give --compare-client-ca FILE", err)
	}
	return report, err
}

// identities are those of the flags.
func (p *probing) identities() ([]probe.Identity, error) {
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

// readPool reads the CAs of a file.
func readPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: there is no certificate in it; it is a file in PEM", file)
	}
	return pool, nil
}

func reviewClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = "fauxlet/" + buildVersion()
	return kubernetes.NewForConfig(config)
}
