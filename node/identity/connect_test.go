package identity_test

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

	"fauxlet/node/identity"
	"fauxlet/testcerts"
)

// world is one node's files and its apiserver.
type world struct {
	*api
	dir     string
	options identity.Options
	log     *observer.ObservedLogs
	stop    context.CancelFunc // ends all connections
	ctx     context.Context
}

func newWorld(t testing.TB, rotate bool) *world {
	t.Helper()
	w := &world{api: newAPI(t), dir: t.TempDir()}
	core, log := observer.New(zap.DebugLevel)
	w.log = log
	w.options = identity.Options{
		NodeName: "node-1", Kubeconfig: w.path("kubelet.conf"), BootstrapKubeconfig: w.path("bootstrap.conf"), CertDir: w.path("pki"),
		Rotate: rotate, Logger: zap.New(core), Configure: func(c *rest.Config) { c.UserAgent = "a test" },
	}
	w.kubeconfig(t, w.options.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: token})
	w.ctx, w.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		w.stop()
		w.tellsNoSecret(t)
		if t.Failed() {
			for _, line := range log.All() {
				t.Logf("%s %s %v", line.Level, line.Message, line.ContextMap())
			}
		}
	})
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

type connected struct {
	connection *identity.Connection
	err        error
}

// connect connects beside the test, for a minute at most.
func (w *world) connect() <-chan connected {
	done := make(chan connected, 1)
	ctx := w.ctx
	deadline := time.AfterFunc(time.Minute, w.stop)
	context.AfterFunc(ctx, func() { deadline.Stop() })
	go func() {
		connection, err := identity.Connect(ctx, w.options)
		done <- connected{connection, err}
	}()
	return done
}

// again is the next start of the process: what the one before did has ended.
func (w *world) again() {
	w.stop()
	w.ctx, w.stop = context.WithCancel(context.Background())
}

func (w *world) wait(t testing.TB, done <-chan connected) *identity.Connection {
	t.Helper()
	got := <-done
	must(t, got.err)
	return got.connection
}

// whoami is whom the apiserver takes the connection for.
func whoami(t testing.TB, connection *identity.Connection) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(connection.Config)
	must(t, err)
	body, err := client.RESTClient().Get().AbsPath("/whoami").DoRaw(context.Background())
	must(t, err)
	return string(body)
}

// tells waits for a line of the log with that in it, fields included.
func (w *world) tells(t testing.TB, words ...string) {
	t.Helper()
	eventually(t, "the log tells "+strings.Join(words, ", "), func() bool {
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

func (w *world) tellsNoSecret(t testing.TB) {
	for _, line := range w.log.All() {
		for _, value := range append([]any{line.Message}, anyValues(line.ContextMap())...) {
			if s, ok := value.(string); ok && (strings.Contains(s, token) || strings.Contains(s, "PRIVATE KEY")) {
				t.Errorf("the log has a secret: %s", s)
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

// files of the certificate folder; the link's is followed by what it points to.
func (w *world) files(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(w.options.CertDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if target, err := os.Readlink(filepath.Join(w.options.CertDir, name)); err == nil {
			if filepath.Dir(target) != w.options.CertDir {
				t.Errorf("%s points to %s", name, target)
			}
			name += " -> " + filepath.Base(target)
		} else if info, err := entry.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		names = append(names, name)
	}
	return names
}

const stamp = `\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d`

func (w *world) hasFiles(t testing.TB, patterns ...string) {
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

// wantsClientRequest holds a request to what a kubelet of node-1 asks for.
func wantsClientRequest(t testing.TB, request *certificatesv1.CertificateSigningRequest, user string) {
	t.Helper()
	content := parse(t, request)
	if got := content.Subject.String(); got != "CN=system:node:node-1,O=system:nodes" {
		t.Errorf("subject %s", got)
	}
	if len(content.DNSNames)+len(content.IPAddresses)+len(content.URIs)+len(content.EmailAddresses) != 0 {
		t.Errorf("it has names: %v %v", content.DNSNames, content.IPAddresses)
	}
	spec := request.Spec
	if spec.SignerName != "kubernetes.io/kube-apiserver-client-kubelet" || spec.ExpirationSeconds != nil || spec.Username != user ||
		!slices.Equal(spec.Usages, []certificatesv1.KeyUsage{"digital signature", "client auth"}) {
		t.Errorf("%+v", spec)
	}
}

func TestBootstrapWithRotation(t *testing.T) {
	w := newWorld(t, true)
	done := w.connect()
	request := w.nth(t, 0)
	wantsClientRequest(t, request, bootUser)
	if !strings.HasPrefix(request.Name, "csr-") {
		t.Errorf("its name is %s", request.Name)
	}
	w.tells(t, "it waits to be approved", "approve=kubectl certificate approve "+request.Name, "node=node-1")
	w.hasFiles(t)
	w.issue(t, request)
	connection := w.wait(t, done)
	if got := whoami(t, connection); got != "system:node:node-1" {
		t.Errorf("it is %q to the apiserver", got)
	}
	if connection.Config.UserAgent != "a test" {
		t.Errorf("user agent %q", connection.Config.UserAgent)
	}
	w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
	w.hasKubeconfig(t)
	w.tells(t, "a certificate was issued", "file="+w.path("pki/kubelet-client-2"))

	// The next start asks for nothing, whatever the bootstrap kubeconfig is by then.
	w.again()
	must(t, os.WriteFile(w.options.BootstrapKubeconfig, []byte("{"), 0o600))
	if got := whoami(t, w.wait(t, w.connect())); got != "system:node:node-1" || len(w.all()) != 1 {
		t.Errorf("after a restart it is %q, and %d certificates were asked for", got, len(w.all()))
	}
}

// hasKubeconfig wants the kubelet's: it names the link alone.
func (w *world) hasKubeconfig(t testing.TB) {
	t.Helper()
	if info, err := os.Stat(w.options.Kubeconfig); err != nil || info.Mode() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info, err)
	}
	got, err := clientcmd.LoadFromFile(w.options.Kubeconfig)
	must(t, err)
	cluster, user, context := got.Clusters["default-cluster"], got.AuthInfos["default-auth"], got.Contexts["default-context"]
	if cluster == nil || user == nil || context == nil || got.CurrentContext != "default-context" {
		t.Fatalf("kubeconfig: %+v", got)
	}
	current := w.path("pki/kubelet-client-current.pem")
	if cluster.Server != w.URL || !bytes.Equal(cluster.CertificateAuthorityData, w.ca.CertPEM()) ||
		user.ClientCertificate != current || user.ClientKey != current || user.Token != "" ||
		context.Cluster != "default-cluster" || context.AuthInfo != "default-auth" || context.Namespace != "default" {
		t.Errorf("kubeconfig: %+v %+v %+v", cluster, user, context)
	}
}

// TestBootstrapOnce: without rotation the request has a name made of the key, and the key is kept until it is answered, so
// that a start in between makes no second one.
func TestBootstrapOnce(t *testing.T) {
	w := newWorld(t, false)
	done := w.connect()
	request := w.nth(t, 0)
	wantsClientRequest(t, request, bootUser)
	if !regexp.MustCompile(`^node-csr-[\w-]{43}$`).MatchString(request.Name) {
		t.Errorf("its name is %s", request.Name)
	}
	w.tells(t, "approve=kubectl certificate approve "+request.Name)
	w.hasFiles(t, `kubelet-client\.key\.tmp`)
	w.again()
	if err := (<-done).err; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(w.options.Kubeconfig); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a kubeconfig, and no certificate: %v", err)
	}

	done = w.connect()
	w.tells(t, "a certificate was asked for before with the same key")
	w.issue(t, request)
	if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" || len(w.all()) != 1 {
		t.Errorf("it is %q, and %d certificates were asked for", got, len(w.all()))
	}
	w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
	w.hasKubeconfig(t)
}

// broken are files of a start before, and what becomes of them.
var broken = map[string]struct {
	spoil func(testing.TB, *world)
	// refused is the error of a kubelet that rotates, where it does not ask anew. One that does not rotate always asks.
	refused []string
	// refusedOnce is that of one that does not rotate.
	refusedOnce []string
}{
	"no kubeconfig":             {spoil: func(t testing.TB, w *world) { must(t, os.RemoveAll(w.dir+"/pki")) }},
	"a garbled kubeconfig":      {spoil: func(t testing.TB, w *world) { must(t, os.WriteFile(w.options.Kubeconfig, []byte("token: ["), 0o600)) }},
	"a kubeconfig with a token": {spoil: func(t testing.TB, w *world) { w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{Token: "x"}) }},
	"an expired certificate": {spoil: func(t testing.TB, w *world) {
		expired, err := w.ca.Client("system:node:node-1", []string{"system:nodes"}, testcerts.Expired)
		must(t, err)
		w.keeps(t, expired)
	}},
	"a link to nowhere": {spoil: func(t testing.TB, w *world) {
		good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
		must(t, err)
		must(t, os.Remove(w.keeps(t, good)))
	}},
	"a truncated certificate": {
		spoil: func(t testing.TB, w *world) {
			good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			must(t, os.Truncate(w.keeps(t, good), 100))
		},
		refused: []string{"--cert-dir", "kubelet-client-current.pem", "remove the file"},
	},
	"a key that does not fit": {
		spoil: func(t testing.TB, w *world) {
			good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			other, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			mixed := *good
			mixed.KeyPEM = other.KeyPEM
			w.keeps(t, &mixed)
		},
		refused:     []string{"--cert-dir", "kubelet-client-current.pem", "private key does not match"},
		refusedOnce: []string{"--kubeconfig", "private key does not match"},
	},
	"a file where the link belongs": {
		spoil:       func(t testing.TB, w *world) { pemOf(t, w.path("pki/kubelet-client-updated.pem"), &testcerts.Pair{}) },
		refused:     []string{"--cert-dir", `kubelet-client-updated.pem" to be a symlink`},
		refusedOnce: []string{"--cert-dir", `kubelet-client-updated.pem" to be a symlink`},
	},
}

// keeps has the node keep a pair as a start before would have; it gives the file's name.
func (w *world) keeps(t testing.TB, pair *testcerts.Pair) string {
	t.Helper()
	file := w.path("pki/kubelet-client-2026-01-02-03-04-05.pem")
	pemOf(t, file, pair)
	current := w.path("pki/kubelet-client-current.pem")
	must(t, os.Symlink(file, current))
	w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{ClientCertificate: current, ClientKey: current})
	return file
}

func TestBrokenFilesAreMadeAnew(t *testing.T) {
	for name, test := range broken {
		for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, rotate)
				test.spoil(t, w)
				before := w.files(t)
				refused := test.refusedOnce
				if rotate {
					refused = test.refused
				}
				done := w.connect()
				if refused != nil {
					wantsError(t, (<-done).err, refused...)
					return
				}
				request := w.nth(t, 0)
				wantsClientRequest(t, request, bootUser)
				w.issue(t, request)
				if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" {
					t.Errorf("it is %q", got)
				}
				w.hasKubeconfig(t)
				for _, kept := range before {
					if !strings.Contains(kept, "->") && !slices.Contains(w.files(t), kept) {
						t.Errorf("%s is gone", kept)
					}
				}
			})
		}
	}
}

func wantsError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not have %q", err, word)
		}
	}
	if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Errorf("the error has a secret: %q", err)
	}
}

func TestConnectErrors(t *testing.T) {
	for name, test := range map[string]struct {
		change func(testing.TB, *world)
		want   []string
	}{
		"no kubeconfig and no bootstrap": {func(t testing.TB, w *world) { w.options.BootstrapKubeconfig = "" }, []string{"--kubeconfig", "kubelet.conf", "no such file"}},
		"no bootstrap kubeconfig": {func(t testing.TB, w *world) { must(t, os.Remove(w.options.BootstrapKubeconfig)) },
			[]string{"--bootstrap-kubeconfig", "bootstrap.conf", "no such file", "needed because of --kubeconfig"}},
		"a garbled bootstrap kubeconfig": {func(t testing.TB, w *world) {
			must(t, os.WriteFile(w.options.BootstrapKubeconfig, []byte("users: [{name: u, user: {token: "+token+"}"), 0o600))
		}, []string{"--bootstrap-kubeconfig", "bootstrap.conf", "invalid kubeconfig"}},
		"an empty bootstrap kubeconfig": {func(t testing.TB, w *world) { must(t, os.WriteFile(w.options.BootstrapKubeconfig, nil, 0o600)) },
			[]string{"--bootstrap-kubeconfig", "bootstrap.conf", "no configuration has been provided"}},
		"a file for the certificate folder": {func(t testing.TB, w *world) { w.options.CertDir = w.options.BootstrapKubeconfig }, []string{"--cert-dir", "bootstrap.conf", "not a directory"}},
		"no certificate folder":             {func(t testing.TB, w *world) { w.options.CertDir = "" }, []string{"--cert-dir", "give a folder"}},
		"a kubeconfig below a file":         {func(t testing.TB, w *world) { w.options.Kubeconfig = w.options.BootstrapKubeconfig + "/kubelet.conf" }, []string{"--kubeconfig", "not a directory"}},
		"no node name":                      {func(t testing.TB, w *world) { w.options.NodeName = "" }, []string{"NodeName"}},
	} {
		for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, rotate)
				test.change(t, w)
				wantsError(t, (<-w.connect()).err, test.want...)
				if len(w.all()) != 0 {
					t.Error("a certificate was asked for all the same")
				}
			})
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	for name, change := range map[string]func(*world, *certificatesv1.CertificateSigningRequest){
		"denied": func(w *world, r *certificatesv1.CertificateSigningRequest) {
			w.change(r.Name, condition(certificatesv1.CertificateDenied, "NotMine"))
		},
		"the signer refused": func(w *world, r *certificatesv1.CertificateSigningRequest) {
			w.change(r.Name, condition(certificatesv1.CertificateFailed, "NotMine"))
		},
	} {
		t.Run(name+", rotating", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, true)
			done := w.connect()
			first := w.nth(t, 0)
			change(w, first)
			w.tells(t, name, first.Name, "reason=NotMine", "because of a test", "another request is made by itself")
			second := w.nth(t, 1)
			if bytes.Equal(first.Spec.Request, second.Spec.Request) {
				t.Error("the same key is used again")
			}
			w.issue(t, second)
			w.wait(t, done)
		})
		t.Run(name+", once", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			done := w.connect()
			first := w.nth(t, 0)
			change(w, first)
			wantsError(t, (<-done).err, "no client certificate for node node-1", "NotMine", "because of a test")
			w.tells(t, name, first.Name, "kubectl delete csr")
			w.again()
			wantsError(t, (<-w.connect()).err, "NotMine")
			if len(w.all()) != 1 {
				t.Errorf("%d certificates were asked for", len(w.all()))
			}
		})
	}
}

func TestCannotAsk(t *testing.T) {
	w := newWorld(t, true)
	w.kubeconfig(t, w.options.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: "old"})
	done := w.connect()
	w.tells(t, "a certificate cannot be asked for", "Unauthorized", "bootstrap-token-ID in kube-system")
	w.stop()
	wantsError(t, (<-done).err, "no client certificate for node node-1", "context canceled")
}

// TestRotation: the certificate is asked for again with itself, and the connections of the one before are closed.
func TestRotation(t *testing.T) {
	w := newWorld(t, true)
	w.life = 2 * time.Second // of 5 minutes and 2 seconds: it is time for another at once
	done := w.connect()
	first := w.issue(t, w.nth(t, 0))
	connection := w.wait(t, done)
	connection.LookEvery(10 * time.Millisecond)
	ran := make(chan error, 1)
	ctx, stop := context.WithCancel(w.ctx)
	go func() { ran <- connection.Run(ctx) }()

	second := w.nth(t, 1)
	wantsClientRequest(t, second, "system:node:node-1")
	w.mu.Lock()
	w.life = time.Hour
	w.mu.Unlock()
	w.issue(t, second)
	w.tells(t, "connections of the one before are closed")
	eventually(t, "the first has expired", func() bool { return time.Now().After(first.NotAfter) })
	if got := whoami(t, connection); got != "system:node:node-1" {
		t.Errorf("it is %q", got)
	}
	names := w.files(t)
	if last := names[len(names)-1]; len(names) < 2 || last != "kubelet-client-current.pem -> "+names[len(names)-2] {
		t.Errorf("--cert-dir has %q", names)
	}
	stop()
	must(t, <-ran)
}

// TestAdminsKubeconfig: kubeadm's first kubelet has an admin's certificate in its kubeconfig. It is used, kept, and
// replaced at once.
func TestAdminsKubeconfig(t *testing.T) {
	w := newWorld(t, true)
	w.options.BootstrapKubeconfig = ""
	admin, err := w.ca.Client("admin", []string{"system:masters"})
	must(t, err)
	w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{ClientCertificateData: admin.CertPEM, ClientKeyData: admin.KeyPEM})
	connection := w.wait(t, w.connect())
	if got := whoami(t, connection); got != "admin" {
		t.Errorf("at first it is %q", got)
	}
	w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
	request := w.nth(t, 0)
	wantsClientRequest(t, request, "admin")
	connection.LookEvery(10 * time.Millisecond)
	ran := make(chan error, 1)
	go func() { ran <- connection.Run(w.ctx) }()
	w.issue(t, request)
	eventually(t, "the node's own certificate", func() bool { return whoami(t, connection) == "system:node:node-1" })
	w.stop()
	must(t, <-ran)
}

func TestKubeconfigAsItIs(t *testing.T) {
	w := newWorld(t, false)
	w.options.BootstrapKubeconfig = ""
	w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{Token: token})
	connection := w.wait(t, w.connect())
	if got := whoami(t, connection); got != bootUser {
		t.Errorf("it is %q", got)
	}
	if len(connection.Metrics()) != 0 || len(w.files(t)) != 0 {
		t.Error("something is kept, or measured, of no certificate")
	}
	connection.CloseAll()
	if got := whoami(t, connection); got != bootUser {
		t.Errorf("on a new connection it is %q", got)
	}
	connection.CloseAll()
	w.stop()
	must(t, connection.Run(w.ctx))
}
