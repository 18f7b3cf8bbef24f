package probe_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fauxlet/conformance/probe"
)

// proxied is a node that an API server reaches through its subresource proxy.
type proxied struct {
	secure   probe.Target
	readOnly int               // the read-only port
	as       *probe.Identity   // the client certificate of the API server; nil: none
	refused  map[string]string // messages with which the API server refuses requests; by port, "" for the secure port
	code     int               // the status of these refusals
}

// serveProxy starts an API server with the given nodes. It fails the test if a request could run or change something.
func serveProxy(t *testing.T, nodes map[string]proxied) *rest.Config {
	t.Helper()
	var list []v1.Node
	for name, p := range nodes {
		list = append(list, node(t, name, p.secure))
	}
	lister := serveNodes(t, list...)
	refuse := func(w http.ResponseWriter, code int, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status: metav1.StatusFailure, Message: message, Code: int32(code)})
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
			w.Header().Set("Content-Type", "application/json")
			review := authenticationv1.SelfSubjectReview{}
			review.Status.UserInfo.Username = "it's me"
			_ = json.NewEncoder(w).Encode(review)
			return
		case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
			review := authorizationv1.SelfSubjectAccessReview{}
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			review.Status.Allowed = review.Spec.ResourceAttributes.Name != "denied"
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(review)
			return
		}
		id, path, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/nodes/"), "/proxy/")
		if !found {
			http.Redirect(w, r, lister.Host+r.URL.String(), http.StatusTemporaryRedirect)
			return
		}
		if r.Method != http.MethodGet || strings.HasPrefix(path, "exec") || strings.HasPrefix(path, "run/") {
			t.Errorf("%s %s was sent", r.Method, r.URL)
		}
		if strings.Contains(r.Header.Get("Authorization"), scraperToken) {
			r.Header.Del("Authorization") // as an API server does after authentication
		}
		name, port := id, ""
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		if parts := strings.Split(id, ":"); len(parts) == 3 {
			name, port = parts[1], parts[2]
		}
		p := nodes[name]
		if message, found := p.refused[port]; found {
			refuse(w, p.code, message)
			return
		}
		if p.as != nil {
			transport.TLSClientConfig.Certificates = []tls.Certificate{*p.as.Certificate}
		}
		scheme, host := "https", net.JoinHostPort(p.secure.Host, p.secure.Port)
		if port != "" {
			scheme, host = "http", net.JoinHostPort(p.secure.Host, port)
		}
		(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.URL.Path = scheme, host, "/"+path
		}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusServiceUnavailable, "error trying to reach service: "+err.Error())
		}}).ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	return &rest.Config{Host: api.URL, BearerToken: scraperToken, ContentConfig: rest.ContentConfig{
		ContentType: "application/json"}}
}

// TestThroughAPIServer probes nodes through an API server: nodes with different configurations and permissions, and
// nodes that the API server does not reach.
func TestThroughAPIServer(t *testing.T) {
	t.Parallel()
	weak := settings{"tlsMinVersion": "VersionTLS10", "tlsCipherSuites": []string{"TLS_RSA_WITH_AES_128_CBC_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}}
	start := func(t *testing.T, user string, changed settings) proxied {
		w := newWorld(t, "")
		k := w.start(t, changed)
		p := proxied{secure: k.target, readOnly: k.readOnly}
		if user != "" {
			identity := w.as(t, user)
			p.as = &identity
		}
		return p
	}
	refused := func(p proxied, code int, port, message string) proxied {
		p.code, p.refused = code, map[string]string{port: message}
		return p
	}
	other := newWorld(t, "").as(t, "kubelet-client")
	stranger := start(t, "", nil)
	stranger.as = &other
	web := proxied{secure: serveText(t, newAuthority(t), func(*http.Request) string {
		return response("200 OK", "<html>")
	})}
	closed := proxied{secure: probe.Target{Host: "127.0.0.1", Port: newWorld(t, "").closed(t)}}
	hidden := start(t, "kubelet-client", settings{"readOnlyPort": closedPort(t)})
	const forbidden = `nodes "denied" is forbidden: User "it's me" cannot get resource "nodes/proxy" in API group ""`
	tests := []struct {
		name       string
		node       proxied
		findings   string
		incomplete bool
		settings   map[string]string
		notProbed  int    // besides what every probe through an API server cannot see
		err        string // the error in place of a report
	}{
		{name: "healthy", node: start(t, "kubelet-client", nil), settings: map[string]string{anonymousEnabled: "false",
			webhookEnabled: "true", clientCAFile: "set", authorizationMode: "Webhook", readOnlyPort: "0",
			serverBootstrap: "false", tlsMinVersion: "VersionTLS12", debuggingHandlers: "true"}},
		{name: "open", node: start(t, "kubelet-client", settings{"authentication": authentication(true, false, "ca.crt"),
			"authorization": alwaysAllow, "readOnlyPort": closedPort(t)}),
			findings: "anonymous-runs,invalid-token-accepted,always-allow,read-only-port"},
		{name: "open, no debugging handlers", node: start(t, "kubelet-client", settings{"authentication": authentication(
			true, true, "ca.crt"), "authorization": alwaysAllow, "enableDebuggingHandlers": false}), incomplete: true,
			notProbed: 1, settings: map[string]string{debuggingHandlers: "false", anonymousEnabled: "unknown"}},
		{name: "anonymous", node: start(t, "kubelet-client", settings{"authentication": authentication(true, true,
			"ca.crt")}), findings: "anonymous-enabled"},
		{name: "weak TLS", node: start(t, "kubelet-client", weak), findings: "old-tls,weak-ciphers"},
		{name: "read-only port hidden by RBAC", node: refused(hidden, http.StatusForbidden,
			strconv.Itoa(hidden.readOnly), "no rights"), findings: "read-only-port", notProbed: 1},
		{name: "no rights at the kubelet", node: start(t, "outsider", nil), findings: "apiserver-forbidden",
			incomplete: true, notProbed: 1, settings: map[string]string{authorizationMode: "Webhook",
				anonymousEnabled: "unknown"}},
		{name: "no client certificate", node: start(t, "", settings{"authentication": authentication(true, true,
			"ca.crt")}), findings: "anonymous-enabled,apiserver-forbidden", incomplete: true, notProbed: 1,
			settings: map[string]string{anonymousEnabled: "true"}},
		{name: "certificate of another CA", node: stranger, findings: "apiserver-unauthenticated", incomplete: true,
			notProbed: 1},
		{name: "not a kubelet", node: web, err: "not a kubelet: no response is one that a kubelet sends"},
		{name: "unreachable", node: closed, err: "kube-apiserver answered: error trying to reach service: dial tcp"},
		{name: "loopback", node: refused(proxied{secure: closed.secure}, http.StatusBadRequest, "",
			"address not allowed"), err: "kube-apiserver answered: address not allowed: the Node's address is loopback"},
		// The kubelet imitates the answer of an API server, to get permissions for another user.
		{name: "imitated 403", node: refused(proxied{secure: closed.secure}, http.StatusForbidden, "", forbidden),
			err: "kube-apiserver answered: " + forbidden},
		{name: "denied", node: refused(proxied{secure: closed.secure}, http.StatusForbidden, "", forbidden),
			err: "kube-apiserver answered: " + forbidden},
	}
	nodes := map[string]proxied{}
	for _, test := range tests {
		nodes[test.name] = test.node
	}
	options := probe.Options{ThroughAPIServer: true, ReadOnlyPort: closedPort(t)}
	all, err := probe.RunCluster(t.Context(), serveProxy(t, nodes), nil, 3, options, func(probe.NodeReport, int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := all.Nodes[slices.IndexFunc(all.Nodes, func(n probe.NodeReport) bool { return n.Name == test.name })]
			if n.Report == nil || test.err != "" {
				if n.Report != nil || test.err == "" || !strings.HasPrefix(n.Error, test.err) {
					t.Errorf("the error is %q, want %q", n.Error, test.err)
				}
				return
			}
			r, values := n.Report, values(n.Report)
			if got := strings.Join(found(r), ","); got != test.findings || r.Incomplete != test.incomplete ||
				len(r.NotProbed) != 3+test.notProbed {
				t.Errorf("the findings are %s (incomplete: %v, not probed: %v), want %s\n%s", got, r.Incomplete,
					r.NotProbed, test.findings, table(t, r))
			}
			for name, want := range test.settings {
				if values[name] != want {
					t.Errorf("%s is %s, want %s", name, values[name], want)
				}
			}
			for _, f := range r.Findings {
				looksRight(t, f)
			}
			text := table(t, r)
			if strings.Contains(text, "Nothing dangerous") || !strings.Contains(text, "NOT PROBED") {
				t.Errorf("the report claims too much:\n%s", text)
			}
		})
	}
	if all.Unanswered() != 5 || all.Incomplete() != 4 || all.Dangerous() != 5 {
		t.Errorf("%s; want 5 not probed, 4 incomplete and 5 dangerous", all.Summary())
	}
	checkRemedy(t, all.Remedy, options.ReadOnlyPort)
	var text, document, suites bytes.Buffer
	for format, b := range map[string]*bytes.Buffer{"table": &text, "json": &document, "junit": &suites} {
		if err := all.Write(b, format); err != nil {
			t.Fatal(err)
		}
	}
	checkNodesSchema(t, document.String())
	if !strings.Contains(text.String(), "1 node: healthy\n  No finding in what was probed.") ||
		strings.Contains(text.String()+suites.String(), "Nothing dangerous was found") ||
		strings.Count(suites.String(), "<error ") != 9 || !strings.Contains(suites.String(), "<skipped ") {
		t.Errorf("wrong reports:\n%s\n%s", text.String(), suites.String())
	}
	if strings.Contains(text.String()+suites.String()+document.String(), scraperToken) {
		t.Error("a report has the token of the kubeconfig")
	}
}

// checkRemedy checks the commands of the remedy for a user that may not get nodes/proxy.
func checkRemedy(t *testing.T, remedy string, port int) {
	t.Helper()
	want := fmt.Sprintf(`
kubectl create clusterrole fauxlet-probe --verb=get --resource=nodes/proxy --resource-name=denied `+
		`--resource-name=http:denied:%d
kubectl create clusterrolebinding fauxlet-probe --clusterrole=fauxlet-probe '--user=it'\''s me'
kubectl delete clusterrole,clusterrolebinding fauxlet-probe`, port)
	if !strings.HasPrefix(remedy, `The user "it's me" may not get nodes/proxy. This permission is dangerous: `) ||
		!strings.HasSuffix(remedy, want) {
		t.Errorf("the remedy is %s\nwant it to end with %s", remedy, want)
	}
}
