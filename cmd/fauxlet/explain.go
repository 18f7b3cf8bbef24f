package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
)

// Exit codes of explain.
const (
	exitRefused    = 1 // or not served, or nothing listens
	exitUnanswered = 2 // there is no answer: what was given makes no sense
	exitBroken     = 3
	exitUnknown    = 4 // of --error
)

func newExplain() *cobra.Command {
	e := &explaining{kubelet: config.NewFlags()}
	c := &cobra.Command{
		Use:   "explain [METHOD] PATH",
		Short: "Say what a kubelet of a configuration would answer, why, and what to change; or what an error means",
		Long: text(`
			explain asks a kubelet that does not run. Given the kubelet's own file and flags, a credential, a method (GET, if
			it is left out) and a path, it draws the road that the request would take (TLS, client certificate, token,
			anonymous, identity, attributes, reviews, answer), says why it ends where it does, and what cures that: lines of
			the kubelet's configuration, flags of kube-apiserver, commands of kubectl. It is the code that "fauxlet serve"
			runs, without a listener. Of a client certificate no key is needed, and all that is wrong with it is told.

			Who may do what is in RBAC manifests (--rbac), or asked of a real apiserver (--kubeconfig), to which
			TokenReviews and SubjectAccessReviews are then sent. The pod that the path names is there, unless --scenario says
			which pods there are.

			With --what-if FIELD=VALUE the same is evaluated once more, with that field of the KubeletConfiguration changed,
			and shown beside it. The exit code is that of the second then.

			With --error TEXT, or --error - for what comes by standard input, explain recognises an error of kubectl,
			metrics-server, Prometheus, kube-apiserver or a kubelet, and says what it comes of, the likeliest first, how to
			tell, and what to run next. All that it knows is in docs/errors.md.

			The kubelet's flags are all taken; those are listed on which an answer can depend.

			Exit codes, by the verdict: 0, allowed, or unguarded, where nobody is asked; 1, refused, or not served, or no
			request, where nothing listens; 3, error: a check failed, and could not decide. Of --error: 0, the error is known; 4, it is not.
			In any case: 2, the command line, the configuration or a file makes no sense.`),
		Example: example(`
			# What becomes of kube-apiserver's certificate at this node? And of somebody without any?
			fauxlet explain --config kubelet.yaml --client-cert kubelet-client.crt --rbac rbac.yaml /containerLogs/default/nginx/nginx
			fauxlet explain --config kubelet.yaml --rbac rbac.yaml /pods

			# May Prometheus scrape? By RBAC manifests, and by those of the cluster.
			fauxlet explain --config kubelet.yaml --token-identity system:serviceaccount:monitoring:prometheus --rbac rbac.yaml /metrics
			fauxlet explain --config kubelet.yaml --token-file token --kubeconfig kubelet.conf /metrics

			# Does kube-apiserver accept the serving certificate?
			fauxlet explain --config kubelet.yaml --kubelet-certificate-authority ca.crt --node-address 192.0.2.7 /pods

			# What if anonymous were on?
			fauxlet explain --config kubelet.yaml --rbac rbac.yaml --what-if authentication.anonymous.enabled=true /pods

			# What does this mean?
			kubectl logs nginx 2>&1 | fauxlet explain --error -`),
		ValidArgsFunction: cobra.FixedCompletions([]string{"/containerLogs/", "/exec/", "/attach/", "/portForward/", "/run/", "/pods", "/runningpods/",
			"/healthz", "/configz", "/logs/", "/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes", "/stats/summary", "/debug/pprof/",
			"/checkpoint/"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		RunE: func(c *cobra.Command, args []string) error { return e.run(c, args) },
	}
	e.kubelet.Strict = true
	flags := c.Flags()
	e.kubelet.AddTo(flags)
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = !decides(flag.Name)
		flag.Deprecated = ""
		flag.Usage, _, _ = strings.Cut(flag.Usage, " (DEPRECATED: ")
	})
	flags.Lookup("kubeconfig").Usage = "kubeconfig of the kubelet, whose apiserver is asked for the reviews"
	flags.StringVar(&e.clientCert, "client-cert", "", "client certificate, in PEM, with those of the CAs between it and the root after it; its key is not needed")
	flags.StringVar(&e.identity, "token-identity", "", "user whose bearer token is sent, with its groups after commas: USER[,GROUP…]. With --tokens, a user of that file")
	flags.StringVar(&e.tokens, "tokens", "", "token file, as of kube-apiserver's --token-auth-file, that has the groups of --token-identity")
	flags.StringVar(&e.tokenFile, "token-file", "", "file of a bearer token to send; with --kubeconfig it is sent to that apiserver for review")
	flags.BoolVar(&e.badToken, "bad-token", false, "send a bearer token that nobody knows")
	flags.StringArrayVarP(&e.headers, "header", "H", nil, `header to send, as in "Accept: application/json"; may be repeated`)
	flags.BoolVar(&e.readOnly, "plain-http", false, "send it to the read-only port")
	flags.StringArrayVar(&e.rbac, "rbac", nil, "RBAC manifest, or a folder of them, that says who may do what; may be repeated")
	flags.StringVar(&e.scenario, "scenario", "", "file of the pods that there are")
	flags.StringVar(&e.servingCA, "kubelet-certificate-authority", "", "CA file by which the client verifies the kubelet's serving certificate; empty: it does not, as a kube-apiserver without this flag")
	flags.StringVar(&e.nodeAddress, "node-address", "", "address or name by which the client reaches the kubelet, which must be in the serving certificate")
	flags.StringArrayVar(&e.whatIf, "what-if", nil, "FIELD=VALUE of the KubeletConfiguration to change, as in authorization.mode=AlwaysAllow; may be repeated")
	flags.StringVar(&e.errorText, "error", "", "an error to explain; - reads it from standard input")
	flags.StringVarP(&e.output, "output", "o", "text", "text or json")
	flags.BoolVar(&e.json, "json", false, "the same as --output json")
	flags.DurationVar(&e.timeout, "timeout", 30*time.Second, "how long the reviews of --kubeconfig may take")
	completeFlag(c, "output", "text", "json")
	completeFlag(c, "authorization-mode", authchain.Webhook, authchain.AlwaysAllow)
	return c
}

// decides says whether a kubelet's flag is worth to be listed: whether an answer can depend on it.
func decides(name string) bool {
	switch name {
	case "config", "config-dir", "kubeconfig", "hostname-override", "cert-dir", "anonymous-auth", "authentication-token-webhook", "client-ca-file",
		"authorization-mode", "enable-server", "enable-debugging-handlers", "read-only-port", "tls-cert-file", "tls-private-key-file",
		"rotate-server-certificates":
		return true
	}
	return false
}

// explaining is the command line of explain.
type explaining struct {
	kubelet *config.Flags

	clientCert, identity, tokens, tokenFile string
	badToken, readOnly, json                bool
	headers, rbac, whatIf                   []string
	scenario, servingCA, nodeAddress        string
	errorText, output                       string
	timeout                                 time.Duration
}

func (e *explaining) run(c *cobra.Command, args []string) error {
	if e.json {
		if c.Flags().Changed("output") && e.output != "json" {
			return usagef(c, "--json: --output is %q; give one of them", e.output)
		}
		e.output = "json"
	}
	if e.output != "text" && e.output != "json" {
		return usagef(c, "--output: %q is neither text nor json", e.output)
	}
	if c.Flags().Changed("error") {
		if len(args) > 0 {
			return usagef(c, "--error: an error is explained by itself; leave %q out, or quote the error as one word", args[0])
		}
		return e.explainError(c)
	}
	asked, err := e.request(c, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), e.timeout)
	defer cancel()
	now, err := e.ask(ctx, asked)
	if err != nil {
		return &exitError{err, exitUnanswered}
	}
	if len(e.whatIf) == 0 {
		if err := e.printExplanation(c.OutOrStdout(), now); err != nil {
			return err
		}
		return exitOf(now)
	}
	for _, change := range e.whatIf {
		field, value, ok := strings.Cut(change, "=")
		if !ok {
			return usagef(c, "--what-if: %q: want FIELD=VALUE, as in authentication.anonymous.enabled=true", change)
		}
		if err := e.kubelet.Override(field, value); err != nil {
			return usagef(c, "--what-if: %w", err)
		}
	}
	then, err := e.ask(ctx, asked)
	if err != nil {
		return &exitError{fmt.Errorf("--what-if: %w", err), exitUnanswered}
	}
	if err := e.printWhatIf(c.OutOrStdout(), now, then); err != nil {
		return err
	}
	return exitOf(then)
}

// request is what the flags and arguments say, but for a token, which the reviewer must know.
func (e *explaining) request(c *cobra.Command, args []string) (offline.Request, error) {
	asked := offline.Request{Method: http.MethodGet, Header: http.Header{}, ReadOnly: e.readOnly, Verify: offline.Verification{Host: e.nodeAddress}}
	switch len(args) {
	case 1:
		asked.Target = args[0]
	case 2:
		asked.Method, asked.Target = strings.ToUpper(args[0]), args[1]
	case 0:
		return asked, usagef(c, "which PATH? Give one as in /pods, or an error with --error")
	default:
		return asked, usagef(c, "unexpected argument %q", args[2])
	}
	given := 0
	for _, yes := range []bool{e.identity != "", e.tokenFile != "", e.badToken} {
		if yes {
			given++
		}
	}
	switch usingCluster := c.Flags().Changed("kubeconfig"); {
	case given > 1:
		return asked, usagef(c, "--token-identity, --token-file, --bad-token: one of them")
	case e.tokens != "" && e.identity == "":
		return asked, usagef(c, "--tokens: name a user of that file with --token-identity")
	case usingCluster && len(e.rbac) > 0:
		return asked, usagef(c, "--rbac and --kubeconfig: who may do what is in the manifests, or asked of the apiserver; give one of them")
	case usingCluster && e.identity != "":
		return asked, usagef(c, "--token-identity: the apiserver of --kubeconfig would not know its token; give a real one with --token-file, or --rbac in the place of --kubeconfig")
	case !usingCluster && e.tokenFile != "":
		return asked, usagef(c, "--token-file: who it belongs to, only an apiserver knows; give its --kubeconfig, or --token-identity in the place of the token")
	case e.nodeAddress != "" && e.servingCA == "":
		return asked, usagef(c, "--node-address: give the client's --kubelet-certificate-authority too: without it, a kube-apiserver accepts any serving certificate")
	}
	for _, header := range e.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok || strings.EqualFold(name, "Authorization") {
			// What it is stays unsaid: it may have a token in it.
			return asked, usagef(c, "--header: want NAME: VALUE, and no token: those are given with --token-identity, --token-file or --bad-token")
		}
		asked.Header.Add(name, strings.TrimSpace(value))
	}
	var err error
	if e.clientCert != "" {
		if asked.Certificates, err = explain.ReadCertificates(e.clientCert); err != nil {
			return asked, &exitError{fmt.Errorf("--client-cert: %w", err), exitUnanswered}
		}
	}
	if e.servingCA != "" {
		if asked.Verify.Roots, err = explain.ReadCertificates(e.servingCA); err != nil {
			return asked, &exitError{fmt.Errorf("--kubelet-certificate-authority: %w", err), exitUnanswered}
		}
	}
	if e.tokenFile != "" {
		data, err := os.ReadFile(e.tokenFile)
		if err != nil {
			return asked, &exitError{fmt.Errorf("--token-file: %w", err), exitUnanswered}
		}
		if asked.Token = strings.TrimSpace(string(data)); asked.Token == "" {
			return asked, &exitError{fmt.Errorf("--token-file: %s: it is empty", e.tokenFile), exitUnanswered}
		}
	}
	if e.badToken {
		asked.Token = rand.Text()
	}
	return asked, nil
}

// ask evaluates the request by the configuration as the flags have it now.
func (e *explaining) ask(ctx context.Context, asked offline.Request) (explain.Explanation, error) {
	cfg, err := e.kubelet.Load()
	if err != nil {
		return explain.Explanation{}, err
	}
	options := offline.Options{Config: cfg}
	if cfg.Kubeconfig != "" {
		err = e.askCluster(&options)
	} else {
		err = e.askManifests(&options, &asked)
	}
	if err != nil {
		return explain.Explanation{}, err
	}
	if e.scenario != "" {
		specs, err := host.ReadPods(e.scenario)
		if err != nil {
			return explain.Explanation{}, withFlag(err)
		}
		if options.Pods, err = pods.NewStore(specs...); err != nil {
			return explain.Explanation{}, err
		}
	}
	k, err := offline.New(options)
	if err != nil {
		return explain.Explanation{}, err
	}
	return k.Explain(ctx, asked)
}

// askCluster has the reviews answered by an apiserver.
func (e *explaining) askCluster(options *offline.Options) error {
	cluster, err := clusterOf(options.Config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	options.TokenReviews, options.AccessReviews = client.AuthenticationV1(), client.AuthorizationV1()
	return nil
}

// askManifests has them answered here, and gives the request its token, which is made up.
func (e *explaining) askManifests(options *offline.Options, asked *offline.Request) error {
	if len(e.rbac) == 0 && string(options.Config.Kubelet.Authorization.Mode) == authchain.Webhook {
		return errors.New("authorization.mode is Webhook: who may do what? Give RBAC manifests with --rbac (kubectl get clusterroles,clusterrolebindings -o yaml > rbac.yaml), or have an apiserver asked with --kubeconfig")
	}
	api, err := reviewapi.New(reviewapi.Options{RBAC: e.rbac})
	if err != nil {
		return fmt.Errorf("--rbac: %w", err)
	}
	if e.identity != "" {
		who, err := e.user()
		if err != nil {
			return err
		}
		asked.Token = rand.Text()
		api.SetTokens(reviewapi.NewTokens(map[string]*user.DefaultInfo{asked.Token: who}))
	}
	options.TokenReviews, options.AccessReviews, err = offline.ReviewClients(api)
	return err
}

// user is the one of --token-identity. A service account is in the groups of all of them.
func (e *explaining) user() (*user.DefaultInfo, error) {
	name, groups, _ := strings.Cut(e.identity, ",")
	who := &user.DefaultInfo{Name: name}
	if groups != "" {
		who.Groups = strings.Split(groups, ",")
	}
	if e.tokens != "" {
		known, err := reviewapi.LoadTokens(e.tokens)
		if err != nil {
			return nil, fmt.Errorf("--tokens: %w", err)
		}
		found, ok := known.User(e.identity)
		if !ok {
			return nil, fmt.Errorf("--token-identity: %q: %s has no token of that user", e.identity, e.tokens)
		}
		return &user.DefaultInfo{Name: found.GetName(), UID: found.GetUID(), Groups: found.GetGroups()}, nil
	}
	if namespace, _, err := serviceaccount.SplitUsername(name); err == nil {
		who.Groups = append(serviceaccount.MakeGroupNames(namespace), who.Groups...)
	}
	return who, nil
}

// exitOf is the end of the process after a verdict, which was printed.
func exitOf(e explain.Explanation) error {
	switch e.Outcome {
	case explain.Allowed, explain.NoAuthentication:
		return nil
	case explain.Error:
		return &exitError{nil, exitBroken}
	}
	return &exitError{nil, exitRefused}
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
