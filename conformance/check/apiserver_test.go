package check

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"fauxlet/conformance/stage"
	"fauxlet/testcerts"
)

// apiserver is the part of a kube-apiserver that connects to kubelets, built from the kube-apiserver's own libraries.
// It can have one defect.
type apiserver struct {
	*httptest.Server
	// defect is the name of the defect; empty for none.
	defect string

	kubelets  *http.Transport
	transport func() *http.Transport // returns a new transport
	busy      sync.Mutex             // for the defect "does one thing at a time"; the method "alone" locks it

	mu       sync.Mutex
	nodes    map[string]*v1.Node
	pods     map[string]*v1.Pod
	requests map[string]*certificatesv1.CertificateSigningRequest
}

// certificates returns the client certificate of all API servers, the serving certificate of all API servers and
// kubelets, and their CA.
var certificates = sync.OnceValues(func() (pairs struct {
	client, serving *testcerts.Pair
	ca              *testcerts.Authority
}, err error,
) {
	ca, err := testcerts.NewAuthority("ca")
	if pairs.ca = ca; err == nil {
		pairs.client, err = ca.Client("kubelet-client", nil)
	}
	if err == nil {
		pairs.serving, err = ca.Server("node", []string{"127.0.0.1"})
	}
	return pairs, err
})

// startAPIServer starts an API server with a defect and returns a run that checks it.
func startAPIServer(t *testing.T, defect string) *run {
	t.Helper()
	return startAPIServerWith(t, defect, nil)
}

// startAPIServerWith is like startAPIServer. The API server also has the given ConfigMaps in its namespace kube-system.
func startAPIServerWith(t *testing.T, defect string, configMaps map[string]map[string]string) *run {
	t.Helper()
	pairs, err := certificates()
	must(t, err)
	client, serving := pairs.client, pairs.serving
	a := &apiserver{defect: defect, nodes: map[string]*v1.Node{}, pods: map[string]*v1.Pod{},
		requests: map[string]*certificatesv1.CertificateSigningRequest{}}
	a.transport = func() *http.Transport {
		return utilnet.SetTransportDefaults(&http.Transport{
			TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true,
				Certificates:       []tls.Certificate{client.TLS()},
			}, MaxIdleConnsPerHost: 25,
		})
	}
	a.kubelets = a.transport()
	if defect == "reads headers without an end" {
		a.kubelets.MaxResponseHeaderBytes = 1 << 40
	}
	mux := http.NewServeMux()
	mux.HandleFunc(
		"GET /version",
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"gitVersion":"v1.37.2"}`) },
	)
	mux.HandleFunc("POST /api/v1/nodes", func(w http.ResponseWriter, r *http.Request) { keep(a, w, r, a.nodes) })
	mux.HandleFunc("PATCH /api/v1/nodes/{node}/status", a.patchNode)
	mux.HandleFunc(
		"POST /api/v1/namespaces/{namespace}/pods",
		func(w http.ResponseWriter, r *http.Request) { keep(a, w, r, a.pods) },
	)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", func(w http.ResponseWriter, _ *http.Request) {
		a.alone(
			func() { answerJSON(w, 200, &v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}) },
		)
	})
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/configmaps/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if configMaps[name] == nil {
			answerError(w, apierrors.NewNotFound(v1.Resource("configmaps"), name))
			return
		}
		answerJSON(w, 200, &v1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			Data: configMaps[name]})
	})
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}/log", a.log)
	for _, verb := range []string{"exec", "attach", "portforward"} {
		mux.HandleFunc(
			"/api/v1/namespaces/{namespace}/pods/{pod}/"+verb,
			func(w http.ResponseWriter, r *http.Request) { a.stream(w, r, verb) },
		)
	}
	mux.HandleFunc("/api/v1/nodes/{node}/proxy/{path...}", a.proxy)
	a.handleRequests(mux)
	a.Server = httptest.NewUnstartedServer(mux)
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.EnableHTTP2 = true
	a.TLS = &tls.Config{Certificates: []tls.Certificate{serving.TLS()}}
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
		a.kubelets.CloseIdleConnections()
	})
	r, err := newRun(Options{
		Cluster: &rest.Config{
			Host:            a.URL,
			ContentConfig:   rest.ContentConfig{ContentType: "application/json"},
			TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		},
		NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
	must(t, err)
	r.ctx = t.Context()
	certificate := serving.TLS()
	r.accepted = func() (*tls.Certificate, error) { return &certificate, nil }
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keep stores a created object under its name.
func keep[T metav1.Object](a *apiserver, w http.ResponseWriter, r *http.Request, all map[string]T) {
	var object T
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		answerError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	object.SetUID("uid")
	object.SetNamespace(r.PathValue("namespace"))
	a.mu.Lock()
	defer a.mu.Unlock()
	all[object.GetName()] = object
	answerJSON(w, 201, object)
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func answerError(w http.ResponseWriter, err error) {
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.APIVersion, s.Kind = "v1", "Status"
	answerJSON(w, int(s.Code), &s)
}

// An API server with the defect refusesToSign has no program that signs serving certificates. The one with the defect
// signsForOthers has signed a certificate for another node. No other API server answers CertificateSigningRequests.
const (
	refusesToSign  = "refuses to sign"
	signsForOthers = "signs only for other nodes"
)

// handleRequests handles CertificateSigningRequests. The signer refuses each request that is approved.
func (a *apiserver) handleRequests(mux *http.ServeMux) {
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	if a.defect == refusesToSign || a.defect == signsForOthers {
		add := func(name string, labels map[string]string, signer string, certificate string) {
			request := &certificatesv1.CertificateSigningRequest{}
			request.Name, request.Labels, request.Spec.SignerName = name, labels, signer
			request.Status.Certificate = []byte(certificate)
			a.requests[name] = request
		}
		add("of-another-signer", nil, certificatesv1.KubeAPIServerClientKubeletSignerName, "PEM")
		add("pending", nil, certificatesv1.KubeletServingSignerName, "")
		add("of-another-run", map[string]string{stage.RunLabel: "x"}, certificatesv1.KubeletServingSignerName, "PEM")
		if a.defect == signsForOthers {
			add("csr-of-node-1", nil, certificatesv1.KubeletServingSignerName, "PEM")
		}
	}
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { keep(a, w, r, a.requests) })
	mux.HandleFunc("GET "+path+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		answerJSON(w, 200, a.requests[r.PathValue("name")])
	})
	mux.HandleFunc("PUT "+path+"/{name}/approval", func(w http.ResponseWriter, r *http.Request) {
		request := &certificatesv1.CertificateSigningRequest{}
		if err := json.NewDecoder(r.Body).Decode(request); err != nil {
			answerError(w, apierrors.NewBadRequest(err.Error()))
			return
		}
		request.Status.Conditions = append(request.Status.Conditions,
			certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateFailed,
				Status: v1.ConditionTrue, Message: "no machine has this name"})
		a.mu.Lock()
		defer a.mu.Unlock()
		a.requests[request.Name] = request
		answerJSON(w, 200, request)
	})
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
		byField, fieldErr := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
		if err = cmp.Or(err, fieldErr); err != nil {
			answerError(w, apierrors.NewBadRequest(err.Error()))
			return
		}
		list := &certificatesv1.CertificateSigningRequestList{}
		list.APIVersion, list.Kind = "certificates.k8s.io/v1", "CertificateSigningRequestList"
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, request := range a.requests {
			if byLabel.Matches(labels.Set(request.Labels)) &&
				byField.Matches(fields.Set{"spec.signerName": request.Spec.SignerName}) {
				list.Items = append(list.Items, *request)
			}
		}
		answerJSON(w, 200, list)
	})
}

// The method "alone" calls the given function. If the API server has the defect "does one thing at a time", the method
// first waits until all earlier calls have returned.
func (a *apiserver) alone(do func()) {
	if a.defect == "does one thing at a time" {
		a.busy.Lock()
		defer a.busy.Unlock()
	}
	do()
}

// patchNode merges a patch into a Node.
func (a *apiserver) patchNode(w http.ResponseWriter, r *http.Request) {
	patch, err := io.ReadAll(r.Body)
	if err != nil {
		answerError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	node := a.nodes[r.PathValue("node")].DeepCopy()
	node.Status.Addresses = nil // a merge patch replaces lists
	if err := json.Unmarshal(patch, node); err != nil {
		answerError(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	a.nodes[node.Name] = node
	answerJSON(w, 200, node)
}

// An API server with a defect that begins with withAddressTypes dials only addresses of the types that follow, in this
// order. The others dial the first address of a Node.
const withAddressTypes = "--kubelet-preferred-address-types="

// kubeletOf returns the address of a Node's kubelet.
func (a *apiserver) kubeletOf(name string) (*url.URL, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	node := a.nodes[name]
	preferred := node.Status.Addresses
	if types, ok := strings.CutPrefix(a.defect, withAddressTypes); ok {
		preferred = nil
		for t := range strings.SplitSeq(types, ",") {
			for _, address := range node.Status.Addresses {
				if string(address.Type) == t {
					preferred = append(preferred, address)
				}
			}
		}
	}
	if len(preferred) == 0 {
		return nil, fmt.Errorf("no preferred addresses found; known addresses: %v", node.Status.Addresses)
	}
	return &url.URL{
		Scheme: "https",
		Host: net.JoinHostPort(
			preferred[0].Address,
			strconv.Itoa(int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)),
		),
	}, nil
}

// location returns the URL at which the kubelet serves a pod's subresource, and the declared features of the Node.
func (a *apiserver) location(r *http.Request, verb string) (*url.URL, []string, error) {
	a.mu.Lock()
	pod := a.pods[r.PathValue("pod")]
	features := a.nodes[pod.Spec.NodeName].Status.DeclaredFeatures
	a.mu.Unlock()
	to, err := a.kubeletOf(pod.Spec.NodeName)
	if err != nil {
		return nil, nil, err
	}
	to.Path = "/" + verb + "/" + pod.Namespace + "/" + pod.Name
	if verb != "portForward" {
		to.Path += "/" + container
	}
	query := r.URL.Query()
	for from, name := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error"} {
		if query.Get(from) == "true" {
			query.Set(name, "1")
		}
	}
	to.RawQuery = query.Encode()
	return to, features, nil
}

func (a *apiserver) log(w http.ResponseWriter, r *http.Request) {
	a.alone(func() { a.logNow(w, r) })
}

func (a *apiserver) logNow(w http.ResponseWriter, r *http.Request) {
	if a.defect == "connects to no kubelet" {
		answerError(w, apierrors.NewInternalError(errors.New("no connection")))
		return
	}
	location, _, err := a.location(r, "containerLogs")
	if err != nil {
		answerError(w, err)
		return
	}
	follow := r.URL.Query().Get("follow") == "true"
	resource := schema.GroupResource{Resource: "pods/log"}
	streamer := &genericrest.LocationStreamer{
		Location: location, Transport: a.kubelets, ContentType: "text/plain", Flush: follow,
		ResponseChecker: genericrest.NewGenericHttpResponseChecker(resource, r.PathValue("pod")),
		RedirectChecker: genericrest.PreventRedirects,
	}
	ctx := r.Context()
	switch a.defect {
	case "follows redirects":
		streamer.RedirectChecker = nil
	case "follows redirects to others":
		streamer.RedirectChecker = func(r *http.Request, via []*http.Request) error {
			if r.URL.Host == location.Host {
				return genericrest.PreventRedirects(r, via)
			}
			return nil
		}
	case "passes errors on as they are", "passes pages on":
		streamer.ResponseChecker = nil
	case "does not see its user go":
		ctx = context.WithoutCancel(ctx)
	case "keeps connections and does not use them":
		streamer.Transport = a.transport()
	case "takes its own for a status":
		streamer.ResponseChecker = newChecker{}
	case verifiesServing, verifiesNodeNames, losesConnections, refusesToSign, signsForOthers:
		if r.URL.Query().Get("insecureSkipTLSVerifyBackend") != "true" {
			streamer.Transport = a.verifying(r)
		}
	}
	stream, flush, contentType, err := streamer.InputStream(ctx, "v1", "")
	if err != nil {
		answerError(w, err)
		return
	}
	defer stream.Close()
	if a.defect == "passes pages on" {
		contentType = "text/html"
		w.Header().Set("Set-Cookie", "hostile=1")
	}
	w.Header().Set("Content-Type", contentType)
	var to io.Writer = w
	var from io.Reader = stream
	switch a.defect {
	case "reads a log before it passes it on", "reads a log as fast as it can":
		var all bytes.Buffer
		_, _ = io.Copy(&all, from)
		from = &all
	case "ends a log early":
		from = io.LimitReader(from, 1<<20)
	case "mixes up a log":
		from = io.MultiReader(strings.NewReader("x"), io.LimitReader(from, large-1))
	case "does not see its user go":
		to = deaf{w}
	case "hangs where an answer breaks off":
		if _, err := io.Copy(to, from); err != nil {
			<-ctx.Done()
		}
		return
	}
	if flush && a.defect != "keeps lines back" {
		to = flushing{to, http.NewResponseController(w)}
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	_, _ = io.Copy(to, from)
}

// These are not defects: API servers that verify the serving certificates of kubelets, and their node names too.
const (
	verifiesServing   = "verifies serving certificates"
	verifiesNodeNames = "verifies node names"
	// An API server whose client certificate changes closes its connections, also before the first request.
	losesConnections = "loses connections after the handshake"
)

// verifying returns a transport that verifies the serving certificate of the kubelet of a request's pod.
func (a *apiserver) verifying(r *http.Request) *http.Transport {
	transport := a.transport()
	transport.DisableKeepAlives = true
	pairs, _ := certificates()
	transport.TLSClientConfig.InsecureSkipVerify, transport.TLSClientConfig.RootCAs = false, pairs.ca.Pool()
	if a.defect == losesConnections {
		transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&tls.Dialer{Config: transport.TLSClientConfig}).DialContext(ctx, network, address)
			if err == nil {
				conn.Close()
			}
			return conn, err
		}
	}
	if a.defect == verifiesNodeNames {
		a.mu.Lock()
		wanted := "system:node:" + a.pods[r.PathValue("pod")].Spec.NodeName
		a.mu.Unlock()
		transport.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
			if got := s.PeerCertificates[0].Subject.CommonName; got != wanted {
				return fmt.Errorf("the serving certificate of %s has the common name %s", wanted, got)
			}
			return nil
		}
	}
	return transport
}

type flushing struct {
	io.Writer
	control *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	_ = f.control.Flush()
	return n, err
}

// deaf is a writer that ignores write errors.
type deaf struct{ io.Writer }

func (d deaf) Write(p []byte) (int, error) {
	_, _ = d.Writer.Write(p)
	return len(p), nil
}

// newChecker is a defective checker of a kubelet's responses. It replaces every error of the kubelet by a new error
// with status 500.
type newChecker struct{}

func (newChecker) Check(r *http.Response) error {
	if r.StatusCode >= 300 {
		r.Body.Close()
		return apierrors.NewInternalError(fmt.Errorf("the kubelet returned an error"))
	}
	return nil
}

func (a *apiserver) stream(w http.ResponseWriter, r *http.Request, verb string) {
	if verb == "portforward" {
		verb = "portForward"
	}
	if a.defect == "connects to no kubelet" {
		answerError(w, apierrors.NewInternalError(errors.New("no connection")))
		return
	}
	location, features, err := a.location(r, verb)
	if err != nil {
		answerError(w, err)
		return
	}
	if a.defect == "speaks no "+map[bool]string{true: "WebSocket", false: "SPDY"}[r.Method == http.MethodGet] {
		answerError(w, apierrors.NewBadRequest("Upgrade request required"))
		return
	}
	var handler http.Handler = proxy.NewUpgradeAwareHandler(location, a.kubelets, false, true, a)
	switch a.defect {
	case "follows redirects of upgrades", "passes redirects of upgrades on", "goes on after a refused upgrade":
		handler = naive{a, location}
	}
	query := r.URL.Query()
	if len(features) == 0 || a.defect == "translates WebSockets for all Nodes" {
		options := translator.Options{
			Stdin:  query.Get("stdin") == "true",
			Stdout: query.Get("stdout") == "true",
			Stderr: query.Get("stderr") == "true",
		}
		switch {
		case a.defect == "takes any protocol" || a.defect == "goes on after a refused upgrade":
		case verb == "portForward":
			handler = translator.NewTranslatingHandler(
				handler,
				translator.NewTunnelingHandler(handler),
				wsstream.IsWebSocketRequestWithTunnelingProtocol,
			)
		default:
			handler = translator.NewTranslatingHandler(
				handler,
				translator.NewStreamTranslatorHandler(location, a.kubelets, 0, options),
				wsstream.IsWebSocketRequestWithStreamCloseProtocol,
			)
		}
	}
	handler.ServeHTTP(w, r)
}

// Error responds to the user with an error that occurred in the proxy.
func (a *apiserver) Error(w http.ResponseWriter, _ *http.Request, err error) { answerError(w, err) }

// The type "naive" is a proxy for upgrade requests that is vulnerable like the proxies in old kube-apiservers.
type naive struct {
	*apiserver
	location *url.URL
}

func (n naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := r.Clone(r.Context())
	request.URL = n.location
	backend, err := proxy.DialURL(r.Context(), n.location, n.kubelets)
	if err != nil {
		answerError(w, err)
		return
	}
	defer backend.Close()
	_ = request.Write(backend)
	if n.defect == "follows redirects of upgrades" {
		var head bytes.Buffer
		response, err := http.ReadResponse(newReader(io.TeeReader(backend, &head)), nil)
		if err != nil {
			answerError(w, err)
			return
		}
		if to, err := response.Location(); err == nil {
			response, err := (&http.Transport{TLSClientConfig: n.kubelets.TLSClientConfig,
				DisableKeepAlives: true}).RoundTrip(
				&http.Request{Method: "GET", URL: to, Header: http.Header{}},
			)
			if err == nil {
				response.Body.Close()
			}
			answerError(w, fmt.Errorf("redirected"))
			return
		}
		backend = &replayed{backend, io.MultiReader(&head, backend)}
	}
	client, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		answerError(w, err)
		return
	}
	defer client.Close()
	ended := make(chan struct{}, 2)
	half := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go half(backend, buffered)
	go half(client, backend)
	<-ended
}

type replayed struct {
	net.Conn
	from io.Reader
}

func (r *replayed) Read(p []byte) (int, error) { return r.from.Read(p) }

func (a *apiserver) proxy(w http.ResponseWriter, r *http.Request) {
	to, err := a.kubeletOf(r.PathValue("node"))
	if err != nil {
		answerError(w, err)
		return
	}
	ip := netip.MustParseAddr(to.Hostname())
	if !ip.IsGlobalUnicast() && a.defect != "goes anywhere by nodes/proxy" {
		answerError(w, apierrors.NewBadRequest("address not allowed"))
		return
	}
	to.Path = "/" + r.PathValue("path")
	proxy.NewUpgradeAwareHandler(to, a.kubelets, true, false, a).ServeHTTP(w, r)
}
