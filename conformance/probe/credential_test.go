package probe_test

import (
	"strings"
	"testing"

	"fauxlet/conformance/probe"
)

// TestKubeconfigUser checks that the credential comes from the kubeconfig, also in a pod. In a pod, clientcmd would
// treat each of these kubeconfigs as empty, and use the pod's service account instead.
func TestKubeconfigUser(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "6443")
	const users = `users: [{name: u, user: {token: from-the-file}}]
`
	w := &world{dir: t.TempDir()}
	for name, test := range map[string]struct{ content, token, err string }{
		"empty":              {err: `the current context "" does not exist`},
		"no contexts":        {content: "current-context: c\n" + users, err: `the current context "c" does not exist`},
		"no current context": {content: "contexts: [{name: c, context: {user: u}}]\n" + users, err: `"" does not`},
		"no user": {content: "current-context: c\ncontexts: [{name: c, context: {user: u}}]\n",
			err: `the user "u" of the current context does not exist`},
		"no cluster": {content: "current-context: c\ncontexts: [{name: c, context: {user: u}}]\n" + users,
			token: "from-the-file"},
	} {
		file := w.write(t, "kubeconfig", []byte(test.content))
		identity, err := probe.CredentialFiles{Kubeconfig: file}.Identity("given")
		switch {
		case err != nil && (test.err == "" || !strings.Contains(err.Error(), test.err)),
			err == nil && (test.err != "" || identity.Token != test.token):
			t.Errorf("%s: identity %+v, error %v, want the token %q, error %q", name, identity, err, test.token,
				test.err)
		}
	}
}
