package bootstrap_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/bootstrap"
)

// fixture contains a node's files, its apiserver and its log.
type fixture struct {
	*api
	dir     string
	options bootstrap.Options
	log     *observer.ObservedLogs
	stop    context.CancelFunc // ends all connections of the node
	ctx     context.Context
}

func newFixture(t testing.TB, rotate bool) *fixture {
	t.Helper()
	w := &fixture{api: newAPI(t, rotate), dir: t.TempDir()}
	core, log := observer.New(zap.DebugLevel)
	w.log = log
	w.options = bootstrap.Options{
		NodeName: "node-1", Kubeconfig: w.path("kubelet.conf"), BootstrapKubeconfig: w.path("bootstrap.conf"),
		CertDir: w.path("pki"),
		Rotate:  rotate, Logger: zap.New(core), Configure: w.configure,
	}
	w.kubeconfig(t, w.options.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: token})
	w.ctx, w.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		w.stop()
		w.logsNoSecret(t)
		if t.Failed() {
			for _, line := range log.All() {
				t.Logf("%s %s %v", line.Level, line.Message, line.ContextMap())
			}
		}
	})
	return w
}

// configure is the field Configure of the options. It sets the user agent. With rotation, the apiserver of the test
// listens in memory, so configure also sets the dial function if the configuration has none.
func (w *fixture) configure(c *rest.Config) {
	c.UserAgent = "a test"
	if c.Dial == nil && w.options.Rotate {
		c.Dial = *bootstrap.Dial
	}
}

func (w *fixture) path(name string) string { return filepath.Join(w.dir, name) }

type connected struct {
	connection *bootstrap.Connection
	err        error
}

// connect starts Connect and Await in a goroutine. Both return after at most one minute.
func (w *fixture) connect() <-chan connected {
	done := make(chan connected, 1)
	ctx := w.ctx
	deadline := time.AfterFunc(time.Minute, w.stop)
	context.AfterFunc(ctx, func() { deadline.Stop() })
	go func() {
		connection, err := bootstrap.Connect(ctx, w.options)
		if err == nil {
			err = connection.Await(ctx)
		}
		done <- connected{connection, err}
	}()
	return done
}

// The method "again" simulates a restart of the process: it ends all connections and makes a new context.
func (w *fixture) again() {
	w.stop()
	w.ctx, w.stop = context.WithCancel(context.Background())
}

func (w *fixture) wait(t testing.TB, done <-chan connected) *bootstrap.Connection {
	t.Helper()
	got := <-done
	must(t, got.err)
	return got.connection
}

// whoami returns the name of the user that the apiserver authenticates when it receives a request over the connection.
func whoami(t testing.TB, connection *bootstrap.Connection) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(connection.Config)
	must(t, err)
	body, err := client.RESTClient().Get().AbsPath("/whoami").DoRaw(context.Background())
	must(t, err)
	return string(body)
}

// The method "logs" waits until one log line contains all words, in its message or fields.
func (w *fixture) logs(t testing.TB, words ...string) {
	t.Helper()
	eventually(t, "the log contains "+strings.Join(words, ", "), func() bool {
		for _, line := range w.log.All() {
			text := line.Message
			for name, value := range line.ContextMap() {
				if s, ok := value.(string); ok {
					text += " " + name + "=" + s
				}
			}
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
				return true
			}
		}
		return false
	})
}

func (w *fixture) logsNoSecret(t testing.TB) {
	for _, line := range w.log.All() {
		for _, value := range append([]any{line.Message}, anyValues(line.ContextMap())...) {
			if s, ok := value.(string); ok && (strings.Contains(s, token) || strings.Contains(s, "PRIVATE KEY")) {
				t.Errorf("the log contains a secret: %s", s)
			}
		}
	}
}

func anyValues(m map[string]any) (values []any) {
	for _, value := range m {
		values = append(values, value)
	}
	return values
}

// The method "files" returns the names of the files in the certificate folder. A link is listed as "NAME -> TARGET".
func (w *fixture) files(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(w.options.CertDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if target, err := os.Readlink(filepath.Join(w.options.CertDir, name)); err == nil {
			if filepath.Dir(target) != w.options.CertDir {
				t.Errorf("the link %s points to %s, outside the certificate folder", name, target)
			}
			name += " -> " + filepath.Base(target)
		} else if info, err := entry.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("file %s: mode %v, error %v; want mode 0600", name, info.Mode(), err)
		}
		names = append(names, name)
	}
	return names
}

const stamp = `\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d`

func (w *fixture) hasFiles(t testing.TB, patterns ...string) {
	t.Helper()
	names := w.files(t)
	same := len(names) == len(patterns)
	for i := 0; same && i < len(names); i++ {
		same = regexp.MustCompile("^" + patterns[i] + "$").MatchString(names[i])
	}
	if !same {
		t.Errorf("--cert-dir has %q, want %q", names, patterns)
	}
}

// wantsClientRequest checks that request equals the request of a kubelet of node-1.
func wantsClientRequest(t testing.TB, request *certificatesv1.CertificateSigningRequest, user string) {
	t.Helper()
	content := parse(t, request)
	if got := content.Subject.String(); got != "CN=system:node:node-1,O=system:nodes" {
		t.Errorf("unexpected subject of the request: %s", got)
	}
	if len(content.DNSNames)+len(content.IPAddresses)+len(content.URIs)+len(content.EmailAddresses) != 0 {
		t.Errorf("the request has unwanted names: %v %v", content.DNSNames, content.IPAddresses)
	}
	spec := request.Spec
	if spec.SignerName != "kubernetes.io/kube-apiserver-client-kubelet" || spec.ExpirationSeconds != nil ||
		spec.Username != user ||
		!slices.Equal(spec.Usages, []certificatesv1.KeyUsage{"digital signature", "client auth"}) {
		t.Errorf("unexpected spec of the request: %+v", spec)
	}
}

// hasKubeconfig checks that the node's kubeconfig has the same content as one that a kubelet writes. The only
// credential in it is the path of the link to the current certificate.
func (w *fixture) hasKubeconfig(t testing.TB) {
	t.Helper()
	if info, err := os.Stat(w.options.Kubeconfig); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the kubeconfig: %v, error %v", info, err)
	}
	got, err := clientcmd.LoadFromFile(w.options.Kubeconfig)
	must(t, err)
	cluster, user, context := got.Clusters["default-cluster"], got.AuthInfos["default-auth"],
		got.Contexts["default-context"]
	if cluster == nil || user == nil || context == nil || got.CurrentContext != "default-context" {
		t.Fatalf("unexpected structure of the kubeconfig: %+v", got)
	}
	current := w.path("pki/kubelet-client-current.pem")
	if cluster.Server != w.URL || !bytes.Equal(cluster.CertificateAuthorityData, w.ca.CertPEM()) ||
		user.ClientCertificate != current || user.ClientKey != current || user.Token != "" ||
		context.Cluster != "default-cluster" || context.AuthInfo != "default-auth" || context.Namespace != "default" {
		t.Errorf("unexpected content of the kubeconfig: cluster %+v, user %+v, context %+v", cluster, user, context)
	}
}

func wantsError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not contain %q", err, word)
		}
	}
	if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Errorf("the error contains a secret: %q", err)
	}
}
