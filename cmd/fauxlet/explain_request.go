package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/helptext"
	"fauxlet/internal/shellword"
	"fauxlet/internal/symptoms"
)

type requestFlags struct {
	clientCert, identity, tokenFile string
	badToken, readOnly              bool
	headers                         []string
	servingCA, nodeAddress          string
}

func (e *explainCommand) addRequestFlags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&e.clientCert, "client-cert", "",
		"client certificate in PEM, followed by intermediate CAs; no key is needed")
	flags.StringVar(&e.identity, "token-identity", "", "send a bearer token of this user, with groups after commas: "+
		"USER[,GROUP...]. With --tokens, USER must be in the tokens file")
	flags.StringVar(&e.tokenFile, "token-file", "", "file with a bearer token to send, which the apiserver of "+
		"--kubeconfig or --context reviews")
	flags.BoolVar(&e.badToken, "bad-token", false, "send an unknown bearer token")
	flags.StringArrayVarP(&e.headers, "header", "H", nil,
		`header to send, as in "Accept: application/json"; may be repeated`)
	flags.BoolVar(&e.readOnly, "plain-http", false, "send the request to the read-only port")
	flags.StringVar(&e.servingCA, "kubelet-certificate-authority", "", "PEM file of the CAs with which the client "+
		"verifies the kubelet's serving certificate; kube-apiserver has a flag of the same name. Without this flag, "+
		"the client accepts any serving certificate")
	flags.StringVar(&e.nodeAddress, "node-address", "", "address or name to which the client connects, and for which "+
		"the serving certificate must be valid; requires --kubelet-certificate-authority")
	helptext.UnderHeading(flags, "Request", "client-cert", "token-identity", "token-file", "bad-token", "header", "plain-http",
		"kubelet-certificate-authority", "node-address")
}

// The method "request" turns the flags and arguments into the request to explain. With --token-identity, the method
// evaluate adds the token later.
func (e *explainCommand) request(c *cobra.Command, args []string) (offline.Request, error) {
	r := offline.Request{Method: http.MethodGet, Header: http.Header{}, ReadOnly: e.readOnly}
	if text := strings.Join(args, " "); isErrorText(args) {
		return r, usagef(c, "%q is not a path; did you mean --error %s?", text, shellword.Quote(text))
	}
	switch len(args) {
	case 1:
		r.Target = args[0]
	case 2:
		r.Method, r.Target = strings.ToUpper(args[0]), args[1]
	case 0:
		return r, usagef(c, "PATH is required, as in /pods, or an error with --error")
	default:
		return r, usagef(c, "unexpected argument %q", args[2])
	}
	r.Host = e.nodeAddress
	if err := e.checkConflicts(c); err != nil {
		return r, err
	}
	for _, header := range e.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok || strings.EqualFold(name, "Authorization") { // the error omits the value, which may be a token
			return r, usagef(c, "--header: must be NAME: VALUE, without a token; send a token with --token-identity, "+
				"--token-file or --bad-token")
		}
		r.Header.Add(name, strings.TrimSpace(value))
	}
	if err := e.readRequestFiles(&r); err != nil {
		return r, &exitError{err, exitInvalid}
	}
	return r, nil
}

// isErrorText reports whether the arguments look like an error text instead of a method and a path.
func isErrorText(args []string) bool {
	for _, arg := range args {
		if strings.HasPrefix(arg, "/") {
			return false
		}
	}
	text := strings.Join(args, " ")
	return len(args) > 2 || len(args) == 1 && strings.Contains(text, " ") || len(symptoms.Diagnose(text).Findings) > 0
}

func (e *explainCommand) checkConflicts(c *cobra.Command) error {
	identity, file, bad := e.identity != "", e.tokenFile != "", e.badToken
	switch inCluster := c.Flags().Changed("kubeconfig") || e.context != ""; {
	case identity && file, identity && bad, file && bad:
		return usagef(c, "--token-identity, --token-file, --bad-token: give only one of them")
	case e.tokens != "" && e.identity == "":
		return usagef(c, "--tokens: requires --token-identity, a user of that file")
	case e.context != "" && c.Flags().Changed("kubeconfig"):
		return usagef(c, "--context and --kubeconfig: give only one; --kubeconfig is the kubelet's own")
	case inCluster && len(e.rbac) > 0:
		return usagef(c, "--rbac and --kubeconfig or --context: give only one; permissions come from manifests or "+
			"from the apiserver")
	case inCluster && e.identity != "":
		return usagef(c, "--token-identity: an apiserver cannot review a made-up token; give a real one with "+
			"--token-file, or --rbac instead of --kubeconfig and --context")
	case !inCluster && e.tokenFile != "":
		return usagef(c, "--token-file: only an apiserver can review a real token; give --kubeconfig or --context, "+
			"or --token-identity instead of the token")
	case e.nodeAddress != "" && e.servingCA == "":
		return usagef(c, "--node-address: requires --kubelet-certificate-authority; without it, a kube-apiserver "+
			"accepts any serving certificate")
	}
	return nil
}

func (e *explainCommand) readRequestFiles(r *offline.Request) error {
	var err error
	if e.clientCert != "" {
		if r.Certificates, err = explain.ReadClientCertificates(e.clientCert); err != nil {
			return fmt.Errorf("--client-cert: %w", err)
		}
	}
	if e.servingCA != "" {
		if r.Roots, err = explain.ReadCertificates(e.servingCA); err != nil {
			return fmt.Errorf("--kubelet-certificate-authority: %w", err)
		}
	}
	if e.tokenFile != "" {
		data, err := os.ReadFile(e.tokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		if r.Token = strings.TrimSpace(string(data)); r.Token == "" {
			return fmt.Errorf("--token-file: %s: the file is empty", e.tokenFile)
		}
	}
	if e.badToken {
		r.Token = rand.Text()
	}
	return nil
}
