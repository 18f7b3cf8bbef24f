package bootstrap_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"google.golang.org/grpc/test/bufconn"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"fauxlet/internal/bootstrap"
	"fauxlet/testcerts"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	utilruntime.ErrorHandlers = nil // a default handler waits between errors, and each bubble has a clock of its own
	network := *bootstrap.Dial
	*bootstrap.Dial = func(ctx context.Context, kind, address string) (net.Conn, error) {
		if listener, ok := inMemory.Load(address); ok {
			return listener.(*bufconn.Listener).DialContext(ctx)
		}
		return network(ctx, kind, address)
	}
	if err := flag.Set("test.parallel", "16"); err != nil { // the tests mostly wait, so many can run in parallel
		panic(err)
	}
	goleak.VerifyTestMain(gcAfterTests{m})
}

// gcAfterTests runs the garbage collector after the tests. Client-go watches the files of a certificate in a goroutine.
// This goroutine ends only when the garbage collector frees the transport that uses the certificate.
// (k8s.io/client-go/transport, tlsTransportCache.get)
type gcAfterTests struct{ *testing.M }

func (c gcAfterTests) Run() int {
	exit := c.M.Run()
	for range 3 { // each garbage collection can free objects that the previous one has released
		runtime.GC()
	}
	return exit
}

const (
	token    = "abcdef.0123456789abcdef"
	bootUser = "system:bootstrap:abcdef"
)

// inMemory maps the address of each apiserver in a synctest bubble to its *bufconn.Listener.
var (
	inMemory  sync.Map
	lastInMem atomic.Int32
)

// inBubble runs a test in a synctest bubble, that is, with fake time. An apiserver that the test starts listens in
// memory.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // this cleanup runs last, so that all goroutines can end
		test(t)
	})
}

// bubbleIf is like inBubble if rotate is set. Otherwise the test runs with real time, because without rotation
// client-go watches certificate files in a goroutine that does not end.
func bubbleIf(t *testing.T, rotate bool, test func(*testing.T)) {
	t.Helper()
	if rotate {
		inBubble(t, test)
		return
	}
	t.Parallel()
	test(t)
}

// api is an apiserver that serves CertificateSigningRequests only. It authenticates certificates of its CA and one
// bootstrap token.
type api struct {
	*httptest.Server
	ca   *testcerts.Authority
	life time.Duration // the lifetime of issued certificates

	mu       sync.Mutex
	requests []*certificatesv1.CertificateSigningRequest
	watchers map[chan watch.Event]string // the value is the name of the watched CertificateSigningRequest
	refuse   error                       // if not nil, the API answers each new request with this error
}

func newAPI(t testing.TB, bubble bool) *api {
	t.Helper()
	ca, err := testcerts.NewAuthority("kubernetes")
	must(t, err)
	a := &api{ca: ca, life: time.Hour, watchers: map[chan watch.Event]string{}}
	serving, err := ca.Server("kube-apiserver", []string{"127.0.0.1"})
	must(t, err)
	mux := http.NewServeMux()
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, a.user(r)) })
	mux.HandleFunc("POST "+path, a.create)
	mux.HandleFunc("GET "+path, a.list)
	mux.HandleFunc("GET "+path+"/{name}",
		func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, a.named(r.PathValue("name"))) })
	a.Server = httptest.NewUnstartedServer(mux)
	a.EnableHTTP2 = true
	a.TLS = &tls.Config{Certificates: []tls.Certificate{serving.TLS()}, ClientAuth: tls.RequestClientCert,
		ClientCAs: ca.Pool()}
	if bubble {
		listener := bufconn.Listen(1 << 20)
		a.Listener.Close()
		a.Listener = listener
		address := fmt.Sprintf("127.0.0.1:%d", lastInMem.Add(1))
		inMemory.Store(address, listener)
		defer func() { a.URL = "https://" + address }()
	}
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// The method "user" returns the user whose credential is in the request, or an empty string if the request is not
// authenticated.
func (a *api) user(r *http.Request) string {
	if r.Header.Get("Authorization") == "Bearer "+token {
		return bootUser
	}
	for _, certificate := range r.TLS.PeerCertificates {
		if _, err := certificate.Verify(
			x509.VerifyOptions{Roots: a.ca.Pool(),
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
			return certificate.Subject.CommonName
		}
	}
	return ""
}

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	request := &certificatesv1.CertificateSigningRequest{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, request)
	}
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	user := a.user(r)
	switch {
	case user == "":
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	case a.refuse != nil:
		fail(w, a.refuse)
		return
	}
	if request.Name == "" {
		request.Name = fmt.Sprintf("%s%05d", request.GenerateName, len(a.requests))
	}
	for _, other := range a.requests {
		if other.Name == request.Name {
			fail(w, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "certificatesigningrequests"},
				request.Name))
			return
		}
	}
	request.UID, request.ResourceVersion = types.UID("uid-of-"+request.Name), "1"
	request.Spec.Username = user
	a.requests = append(a.requests, request)
	answer(w, http.StatusCreated, request)
}

// The method "list" answers a list or watch request for the CertificateSigningRequest that the field selector selects.
func (a *api) list(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.FormValue("fieldSelector"), "metadata.name=")
	if r.FormValue("watch") == "" {
		list := certificatesv1.CertificateSigningRequestList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		if request := a.named(name); request != nil {
			list.Items = append(list.Items, *request)
		}
		answer(w, http.StatusOK, list)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	events := make(chan watch.Event, 8)
	a.mu.Lock()
	a.watchers[events] = name
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, events)
	}()
	send := func(event watch.Event) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": event.Type, "object": event.Object})
		w.(http.Flusher).Flush()
	}
	if r.FormValue("sendInitialEvents") == "true" {
		if request := a.named(name); request != nil {
			send(watch.Event{Type: watch.Added, Object: request})
		}
		end := &certificatesv1.CertificateSigningRequest{TypeMeta: csrType}
		end.ResourceVersion, end.Annotations = "1", map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		send(watch.Event{Type: watch.Bookmark, Object: end})
	}
	for {
		select {
		case event := <-events:
			send(event)
		case <-r.Context().Done():
			return
		}
	}
}

var csrType = metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest"}

func (a *api) named(name string) *certificatesv1.CertificateSigningRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, request := range a.requests {
		if request.Name == name {
			copied := request.DeepCopy()
			copied.TypeMeta = csrType
			return copied
		}
	}
	return nil
}

func answer(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func fail(w http.ResponseWriter, err error) {
	status := err.(apierrors.APIStatus).Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	answer(w, int(status.Code), status)
}

// The method "all" returns the CertificateSigningRequests that were made so far.
func (a *api) all() []*certificatesv1.CertificateSigningRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// nth waits for the CertificateSigningRequest with index n, counted from 0, and returns it.
func (a *api) nth(t testing.TB, n int) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	eventually(t, fmt.Sprintf("the CertificateSigningRequest with index %d is created", n), func() bool {
		return len(a.all()) > n
	})
	return a.all()[n]
}

// The method "change" modifies a CertificateSigningRequest and sends the new version to its watchers.
func (a *api) change(name string, with func(*certificatesv1.CertificateSigningRequest)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, request := range a.requests {
		if request.Name != name {
			continue
		}
		request = request.DeepCopy()
		request.TypeMeta, request.ResourceVersion = csrType, request.ResourceVersion+"0"
		with(request)
		a.requests[i] = request
		for events, watched := range a.watchers {
			if watched == name {
				events <- watch.Event{Type: watch.Modified, Object: request}
			}
		}
	}
}

func condition(kind certificatesv1.RequestConditionType,
	reason string) func(*certificatesv1.CertificateSigningRequest) {
	return func(request *certificatesv1.CertificateSigningRequest) {
		request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: kind, Status: v1.ConditionTrue, Reason: reason, Message: "because of a test",
		})
	}
}

// The method "issue" approves and signs a CertificateSigningRequest, as kube-controller-manager does. The validity of
// the certificate starts five minutes ago.
func (a *api) issue(t testing.TB, request *certificatesv1.CertificateSigningRequest) *x509.Certificate {
	t.Helper()
	content := parse(t, request)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: content.Subject, DNSNames: content.DNSNames, IPAddresses: content.IPAddresses,
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(a.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if slices.Contains(request.Spec.Usages, certificatesv1.UsageClientAuth) {
		template.ExtKeyUsage[0] = x509.ExtKeyUsageClientAuth
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.Cert, content.PublicKey, a.ca.Key)
	must(t, err)
	a.change(request.Name, condition(certificatesv1.CertificateApproved, "KubectlApprove"))
	a.change(request.Name, func(request *certificatesv1.CertificateSigningRequest) {
		request.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return certificate
}

func parse(t testing.TB, request *certificatesv1.CertificateSigningRequest) *x509.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode(request.Spec.Request)
	content, err := x509.ParseCertificateRequest(block.Bytes)
	must(t, err)
	must(t, content.CheckSignature())
	return content
}

// kubeconfig writes a kubeconfig for the API, with the given credential, to the path in file. It returns this path.
func (a *api) kubeconfig(t testing.TB, file string, credential clientcmdapi.AuthInfo) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: a.URL, CertificateAuthorityData: a.ca.CertPEM()}
	config.AuthInfos["u"] = &credential
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	must(t, clientcmd.WriteToFile(*config, file))
	return file
}

// pemOf writes a certificate and its key into one file, as a kubelet does.
func pemOf(t testing.TB, file string, pair *testcerts.Pair) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, append(slices.Clone(pair.CertPEM), pair.KeyPEM...), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until the function "so" returns true. The limit is 20 s, because the machine may be busy.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		case <-tick.C:
		}
	}
}
