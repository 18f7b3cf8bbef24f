package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
	"fauxlet/internal/kubeconfig"
	"fauxlet/internal/pods"
	"fauxlet/internal/symptoms"
	"fauxlet/server"
)

// These are the exit codes of explain, besides 0.
const (
	exitRefused      = 1 // the request is refused, the path is not served, or the port is not open
	exitInvalid      = 2
	exitUndecided    = 3
	exitUnknownError = 4
)

func newExplain() *cobra.Command {
	e := &explainCommand{kubelet: config.NewFlags()}
	c := &cobra.Command{
		Use: "explain [METHOD] PATH | --error TEXT",
		ValidArgsFunction: cobra.FixedCompletions(server.Paths(),
			cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		RunE: func(c *cobra.Command, args []string) error { return e.run(c, args) },
	}
	flags := c.Flags()
	flags.SortFlags = false // the help text lists the flags of explain before the kubelet's flags
	flags.StringVarP(&e.output, "output", "o", "text", "text or json")
	flags.BoolVar(&e.json, "json", false, "same as --output json")
	flags.StringArrayVar(&e.whatIf, "what-if", nil, "FIELD=VALUE of the KubeletConfiguration to change, as in "+
		"authorization.mode=AlwaysAllow; may be repeated")
	flags.StringVar(&e.errorText, "error", "", "error to explain; - reads standard input")
	e.addRequestFlags(c)
	flags.StringArrayVar(&e.rbac, "rbac", nil, "RBAC manifest, or folder of manifests, that says what users may do; "+
		"objects of other kinds in it are skipped; may be repeated")
	flags.StringVar(&e.tokens, "tokens", "", "file of users and their groups in the format of kube-apiserver's "+
		"--token-auth-file (token,user,uid,\"group,group\"); --token-identity then names one of these users")
	flags.StringVar(&e.scenario, "scenario", "", "Scenario file that lists the pods")
	flags.StringVar(&e.context, "context", "", "context of your own kubeconfig ($KUBECONFIG or ~/.kube/config) "+
		"whose apiserver answers the reviews, instead of the apiserver of the kubelet's --kubeconfig")
	flags.DurationVar(&e.timeout, "timeout", 30*time.Second, "limit for the reviews by an apiserver")
	helptext.UnderHeading(flags, "Cluster", "rbac", "tokens", "scenario", "context", "timeout")
	addKubeletFlags(c, e.kubelet, affectsAnswer)
	flags.Lookup("kubeconfig").Usage = "kubeconfig of the kubelet; its apiserver answers the reviews"
	completeFlag(c, "output", "text", "json")
	completeFlag(c, "authorization-mode", authchain.Webhook, authchain.AlwaysAllow)
	return c
}

// affectsAnswer reports whether a change of the given kubelet flag can change the kubelet's response to a request.
func affectsAnswer(flag string) bool {
	return slices.Contains([]string{"config", "config-dir", "kubeconfig", "hostname-override", "cert-dir",
		"anonymous-auth", "authentication-token-webhook", "client-ca-file", "authorization-mode", "enable-server",
		"enable-debugging-handlers", "read-only-port", "tls-cert-file", "tls-private-key-file",
		"rotate-server-certificates"}, flag)
}

type explainCommand struct {
	kubelet *config.Flags
	requestFlags
	rbac, whatIf      []string
	tokens, scenario  string
	context           string
	errorText, output string
	json              bool
	timeout           time.Duration
}

func (e *explainCommand) run(c *cobra.Command, args []string) error {
	if e.json {
		if c.Flags().Changed("output") && e.output != "json" {
			return usagef(c, "--json: conflicts with --output %q", e.output)
		}
		e.output = "json"
	}
	if err := checkOneOf(c, "output", e.output, "text", "json"); err != nil {
		return err
	}
	if c.Flags().Changed("error") {
		if len(args) > 0 {
			return usagef(c, "--error: takes no PATH; remove %q, or quote the whole error", args[0])
		}
		return e.explainError(c)
	}
	request, err := e.request(c, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), e.timeout)
	defer cancel()
	out := c.OutOrStdout()
	actual, err := e.evaluate(ctx, request, c.ErrOrStderr())
	if err != nil {
		return &exitError{err, exitInvalid}
	}
	if len(e.whatIf) == 0 {
		if err := e.write(out, actual, func() error { return actual.WriteText(out, color.For(out)) }); err != nil {
			return err
		}
		return exitOf(actual)
	}
	for _, change := range e.whatIf {
		field, value, ok := strings.Cut(change, "=")
		if !ok {
			return usagef(c, "--what-if: %q: must be FIELD=VALUE, as in authentication.anonymous.enabled=true", change)
		}
		if err := e.kubelet.Override(field, value); err != nil {
			return usagef(c, "--what-if: %w", err)
		}
	}
	whatIf, err := e.evaluate(ctx, request, io.Discard)
	if err != nil {
		return &exitError{fmt.Errorf("--what-if: %w", err), exitInvalid}
	}
	both := struct {
		Actual explain.Explanation `json:"actual"`
		WhatIf explain.Explanation `json:"whatIf"`
		Set    []string            `json:"set"`
	}{actual, whatIf, e.whatIf}
	if err := e.write(out, both, func() error {
		return explain.WriteComparison(out, color.For(out), &actual, &whatIf, "with "+strings.Join(e.whatIf, ", "))
	}); err != nil {
		return err
	}
	return exitOf(whatIf)
}

// evaluate explains the request for the kubelet configuration that the flags describe. It writes the warnings about the
// files to stderr.
func (e *explainCommand) evaluate(ctx context.Context, request offline.Request, stderr io.Writer) (
	explain.Explanation, error) {
	cfg, err := e.kubelet.Load()
	if err != nil {
		return explain.Explanation{}, withFile("--config", err)
	}
	warn(stderr, cfg.Warnings)
	options := offline.Options{Config: cfg}
	reviewers := offline.Reviewers{RBAC: e.rbac, Identity: e.identity, Tokens: e.tokens,
		UserAgent: host.UserAgent(version)}
	if own := (kubeconfig.Source{Context: e.context}); e.context != "" {
		if reviewers.Apiserver, _, err = own.Client(reviewers.UserAgent); err != nil {
			return explain.Explanation{}, fmt.Errorf("--context: %w", err)
		}
	}
	note, err := reviewers.Apply(&options, &request)
	if errors.Is(err, offline.ErrNoRBAC) {
		return explain.Explanation{}, fmt.Errorf("%w: give --rbac, --kubeconfig or --context", err)
	} else if err != nil {
		return explain.Explanation{}, err
	} else if note != "" {
		fmt.Fprintln(stderr, "fauxlet: note: --rbac:", note)
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
	kubelet, err := offline.New(options)
	if err != nil {
		return explain.Explanation{}, err
	}
	return kubelet.Explain(ctx, request)
}

// The method "write" prints the given value as JSON if the user gave -o json. Otherwise it calls the function "text",
// which prints the value as text.
func (e *explainCommand) write(w io.Writer, v any, text func() error) error {
	if e.output == "json" {
		return writeJSON(w, v)
	}
	return text()
}

// exitOf returns an error that makes the process end with the exit code for an explanation. The process prints nothing
// about this error. exitOf returns nil, for the exit code 0, if the request is allowed or is served without
// authentication.
func exitOf(e explain.Explanation) error {
	switch e.Outcome {
	case explain.Allowed, explain.NoAuthentication:
		return nil
	case explain.Error:
		return &exitError{nil, exitUndecided}
	}
	return &exitError{nil, exitRefused}
}

var errUnknownError = errors.New("this error is not known; docs/errors.md lists the known errors. To find the " +
	"cause, run fauxlet check --kubeconfig admin.conf for kube-apiserver, or fauxlet probe for a kubelet")

// maxErrorText limits the size of the error text that --error reads from standard input, in bytes.
const maxErrorText = 1 << 20

func (e *explainCommand) explainError(c *cobra.Command) error {
	text := e.errorText
	if text == "-" {
		data, err := io.ReadAll(io.LimitReader(c.InOrStdin(), maxErrorText))
		if err != nil {
			return &exitError{fmt.Errorf("--error: %w", err), exitInvalid}
		}
		text = string(data)
	}
	if text == "" {
		return &exitError{errors.New("--error: the text is empty; most programs print errors on standard error, so " +
			"add 2>&1 before the pipe"), exitInvalid}
	}
	d := symptoms.Diagnose(text)
	if d.Findings == nil {
		d.Findings = []symptoms.Finding{} // the JSON output has an empty list instead of null
	}
	out := c.OutOrStdout()
	if err := e.write(out, d, func() error { return d.WriteText(out, color.For(out)) }); err != nil {
		return err
	}
	if len(d.Findings) == 0 {
		return &exitError{errUnknownError, exitUnknownError}
	}
	return nil
}

func writeJSON(w io.Writer, v any) error { return color.WriteJSON(w, v, "  ") }
