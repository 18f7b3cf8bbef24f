package probe_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"fauxlet/conformance/probe"
	"fauxlet/testcerts"
)

// serveText starts a TLS server on 127.0.0.1, with a certificate issued by ca. The function "answer" returns the whole
// response to a request.
func serveText(
	t *testing.T,
	ca *testcerts.Authority,
	answer func(*http.Request) string,
	mutate ...testcerts.Mutate,
) probe.Target {
	t.Helper()
	pair, err := ca.Server("other", []string{"127.0.0.1"}, mutate...)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, pair.TLS(), func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		for {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			fmt.Fprint(conn, answer(request))
		}
	})
}

func response(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

var unauthorized, notFound = response("401 Unauthorized", "Unauthorized"),
	response("404 Not Found", "404 page not found\n")

// refuse returns a kubelet's response to a client that is not authenticated.
func refuse(r *http.Request) string {
	if r.URL.Path == "/fauxlet-probe" { // no kubelet serves this path
		return notFound
	}
	return unauthorized
}

func newAuthority(t *testing.T) *testcerts.Authority {
	t.Helper()
	ca, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestNotAKubelet checks that the probe of a server that is not a kubelet ends with one error and no report.
func TestNotAKubelet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, answer, want string
		others             map[string]string // the answers for single paths
	}{
		{name: "an apiserver", answer: response("401 Unauthorized",
			`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","code":401}`),
			want: "not a kubelet: no-credential: GET /healthz: 401, in the form of a kube-apiserver's answers; give " +
				"the address of a node"},
		{name: "a web server", answer: response("200 OK", "<html>"),
			want: "not a kubelet: no response is one that a kubelet sends; the first is no-credential: GET " +
				"/healthz: 200"},
		{name: "an unknown path", answer: notFound,
			want: "not a kubelet: no response is one that a kubelet sends; the first is no-credential: GET " +
				"/healthz: 404"},
		{name: "a proxy", answer: response("502 Bad Gateway", ""),
			want: "no kubelet responded: no-credential: GET /healthz: 502: a proxy answered: Bad Gateway"},
		{name: "a redirect", answer: "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
			want: "not a kubelet: no response is one that a kubelet sends; the first is no-credential: GET " +
				"/healthz: 302"},
		{name: "a server that refuses every request", answer: unauthorized,
			want: "may be a kubelet, but cannot be recognized: it answers 401 to GET /pods, as kubelets and other " +
				"servers do, but GET /fauxlet-probe, to which a kubelet answers 404, got 401; perhaps a proxy is in " +
				"front of it"},
		{name: "no response to the path that no kubelet serves", answer: unauthorized,
			others: map[string]string{"/fauxlet-probe": "what?\r\n\r\n"},
			want: "may be a kubelet, but cannot be recognized: it answers 401 to GET /pods, as kubelets and other " +
				"servers do, but GET /fauxlet-probe, to which a kubelet answers 404, got no response: malformed HTTP"},
		{name: "a server without the path /pods", answer: unauthorized,
			others: map[string]string{"/pods": notFound, "/fauxlet-probe": notFound},
			want: "not a kubelet: no response is one that a kubelet sends; the first is no-credential: GET " +
				"/healthz: 401"},
		{name: "not HTTP", answer: "what?\r\n\r\n", want: "no request was answered; first error: malformed HTTP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			target := serveText(t, newAuthority(t), func(r *http.Request) string {
				return cmp.Or(test.others[r.URL.Path], test.answer)
			})
			report, err := probe.Run(t.Context(), probe.Options{Target: target})
			if report != nil || err == nil || !strings.HasPrefix(err.Error(), target.String()+": "+test.want) {
				t.Errorf("the report is %v and the error %v, want only the error %q", report, err, test.want)
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		t.Parallel()
		plain := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(plain.Close)
		target := targetOf(plain.Listener)
		report, err := probe.Run(t.Context(), probe.Options{Target: target})
		if report != nil || err == nil || !strings.Contains(err.Error(), "the server does not use TLS") {
			t.Errorf("the report is %v and the error %v, want only an error about TLS", report, err)
		}
	})
}

// TestCheckpointWithoutAuthentication probes the read-only ports of kubelets with and without CVE-2025-0426.
func TestCheckpointWithoutAuthentication(t *testing.T) {
	t.Parallel()
	const cve = "checkpoint-unauthenticated"
	listener := listen(t) // accepts no connection, so a request gets no response
	t.Cleanup(func() { listener.Close() })
	_, silent, _ := net.SplitHostPort(listener.Addr().String())
	for _, test := range []struct {
		name, version string
		checkpoint    int // the status of GET /checkpoint on the read-only port
		configz       string
		want          []string
	}{
		{"served", "v1.32.1", http.StatusMethodNotAllowed, "",
			[]string{"read-only-port CIS 4.2.4", cve + " CIS 4.2.4"}},
		{"not served", "v1.32.1", http.StatusNotFound, "", []string{"read-only-port CIS 4.2.4"}},
		{"by version and setting", "v1.31.5", 0, silent, []string{"read-only-port CIS 4.2.4", cve + " CIS 4.2.4"}},
		{"a later patch release", "v1.31.6", 0, silent, []string{"read-only-port CIS 4.2.4"}},
		{"an older minor release", "v1.29.3", 0, silent, []string{"read-only-port CIS 4.2.4"}},
		{"no read-only port", "v1.31.5", 0, "0", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			target := serveText(t, newAuthority(t), func(r *http.Request) string {
				if r.URL.Path == "/configz" && test.configz != "" {
					return response("200 OK", `{"kubeletconfig":{"readOnlyPort":`+test.configz+`}}`)
				}
				return refuse(r)
			})
			options := probe.Options{Target: target, NodeVersion: test.version, Timeout: time.Second}
			if test.checkpoint == 0 {
				options.ReadOnlyPort = closedPort(t) // the port in /configz replaces it
			} else {
				readOnly := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Path == "/pods":
						fmt.Fprint(w, `{"kind":"PodList"}`)
					case !strings.HasPrefix(r.URL.Path, "/checkpoint/"):
						fmt.Fprint(w, "ok")
					case test.checkpoint == http.StatusNotFound:
						http.NotFound(w, r)
					default:
						http.Error(w, "405: Method Not Allowed", test.checkpoint)
					}
				}))
				t.Cleanup(readOnly.Close)
				options.ReadOnlyPort = readOnly.Listener.Addr().(*net.TCPAddr).Port
			}
			var got []string
			for _, f := range run(t, options).Findings {
				if f.ID == "read-only-port" || f.ID == cve {
					got = append(got, f.ID+" CIS "+f.CIS)
					if (f.CVE == "CVE-2025-0426") != (f.ID == cve) {
						t.Errorf("the CVE of %s is %q", f.ID, f.CVE)
					}
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the findings are %q, want %q", got, test.want)
			}
		})
	}
}

// TestRightsOfOlderKubelets checks that the permissions in the report match the kubelet's version.
func TestRightsOfOlderKubelets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ version, path, want string }{
		{"", "/pods", "get nodes/pods or get nodes/proxy"},
		{"v1.33.0", "/pods", "get nodes/pods or get nodes/proxy"},
		{"v1.31.4", "/pods", "get nodes/proxy"},
		{"v1.31.4", "/metrics", "get nodes/metrics"},
		{"v1.32.0", "/statusz", "get nodes/proxy"},
		{"v1.33.0", "/statusz", "get nodes/statusz"},
		{"v1.33.0-eks-1234", "/flagz", "get nodes/configz"},
		{"v1.29.9", "/checkpoint/fauxlet-probe/No_Such_Pod/none", "get nodes/proxy"},
		{"v1.30.0", "/checkpoint/fauxlet-probe/No_Such_Pod/none", "get nodes/checkpoint"},
	} {
		t.Run(test.version+test.path, func(t *testing.T) {
			t.Parallel()
			target := serveText(t, newAuthority(t), refuse)
			for _, request := range run(t, probe.Options{Target: target, NodeVersion: test.version}).Requests {
				if got := strings.Join(request.Rights, " or "); request.Path == test.path && request.Method == "GET" &&
					got != test.want {
					t.Errorf("GET %s requires %q, want %q", test.path, got, test.want)
				}
			}
		})
	}
}

// TestOlderKubelet probes a server with the responses of a kubelet without KubeletFineGrainedAuthz.
func TestOlderKubelet(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	target := serveText(t, ca, func(r *http.Request) string {
		return response(
			"403 Forbidden",
			"Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource=proxy)",
		)
	})
	report := run(t, probe.Options{Target: target})
	got := values(report)
	if got[fineGrained] != "false" || got[authorizationMode] != "Webhook" || got[anonymousEnabled] != "true" ||
		got[webhookEnabled] != "false" {
		t.Errorf("wrong inferred settings: %v", got)
	}
	if report.Identities[0].User != "system:anonymous" {
		t.Errorf("the user without a credential is %q, want system:anonymous", report.Identities[0].User)
	}
}

// TestContradiction checks that the webhook setting is unknown if requests without a credential get a 401, but requests
// with an invalid token get a 403.
func TestContradiction(t *testing.T) {
	t.Parallel()
	target := serveText(t, newAuthority(t), func(r *http.Request) string {
		if r.Header.Get("Authorization") != "" {
			return response(
				"403 Forbidden",
				"Forbidden (user=x, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
			)
		}
		return refuse(r)
	})
	if got := values(run(t, probe.Options{Target: target}))[webhookEnabled]; got != "unknown" {
		t.Errorf("the setting %s is inferred as %s, want unknown", webhookEnabled, got)
	}
}

func TestReviewsFail(t *testing.T) {
	t.Parallel()
	target := serveText(t, newAuthority(t), func(r *http.Request) string {
		return response(
			"500 Internal Server Error",
			"Authorization error (user=system:anonymous, verb=get, resource=nodes, subresource=pods)",
		)
	})
	report := run(t, probe.Options{Target: target})
	if got := values(report); got[authorizationMode] != "Webhook" || got[anonymousEnabled] != "true" {
		t.Errorf("wrong inferred settings: %v", got)
	}
	if !strings.Contains(strings.Join(found(report), " "), "reviews-fail") {
		t.Errorf("the findings %q lack reviews-fail", found(report))
	}
}

// TestTokens checks that tokens are sent only to verified servers, and that no report contains a token, even if the
// server repeats the token.
func TestTokens(t *testing.T) {
	t.Parallel()
	const token = "s3cret-token-of-mine"
	ca, other := newAuthority(t), newAuthority(t)
	var mu sync.Mutex
	received := 0
	target := serveText(t, ca, func(r *http.Request) string {
		if !strings.Contains(r.Header.Get("Authorization"), token) {
			return refuse(r)
		}
		mu.Lock()
		defer mu.Unlock()
		received++
		if received%2 == 0 {
			return "HTTP/1.1 " + token + "\r\n\r\n"
		}
		return response(
			"403 Forbidden",
			"Forbidden (user="+token+", verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
		)
	})
	identities := []probe.Identity{withToken("scraper", token)}

	if _, err := probe.Run(t.Context(), probe.Options{Target: target, Identities: identities}); !errors.Is(
		err,
		probe.ErrUnverified,
	) ||
		strings.Contains(err.Error(), token) {
		t.Errorf("with a token and without a CA, the error is %v, want ErrUnverified", err)
	}
	for name, options := range map[string]probe.Options{
		"another CA":   {CA: other.Pool()},
		"another name": {CA: ca.Pool(), ServerName: "192.0.2.1"},
	} {
		options.Target, options.Identities = target, identities
		report := run(t, options)
		if received != 0 {
			t.Fatalf("%s: the token was sent to a server that is not verified", name)
		}
		if a := report.Requests[1].Responses["scraper"]; a.Access != probe.NotSent {
			t.Errorf("%s: the request with the token is reported as %+v, want NotSent", name, a)
		}
		if report.Requests[1].Responses[probe.NoCredential].Status != 401 {
			t.Errorf("%s: the request without a credential did not get a 401", name)
		}
	}
	for name, options := range map[string]probe.Options{"verified": {CA: ca.Pool()},
		"trusted": {SendTokensUnverified: true}} {
		received = 0
		options.Target, options.Identities = target, identities
		report := run(t, options)
		if received == 0 {
			t.Errorf("%s: the token was not sent", name)
		}
		var first bytes.Buffer
		if err := report.WriteJSON(&first); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(first.String()+table(t, report), token) {
			t.Errorf("%s: the token is in the report", name)
		}
	}
}

// TestNothingIsLogged probes a server that sends more data after the end of each response. The probe must not log this
// data, because it may contain the token. The HTTP client of net/http would log it.
func TestNothingIsLogged(t *testing.T) {
	const token = "s3cret-token-of-mine"
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	ca := newAuthority(t)
	target := serveText(
		t,
		ca,
		func(r *http.Request) string { return refuse(r) + "and " + token },
	)
	run(t, probe.Options{Target: target, CA: ca.Pool(), Identities: []probe.Identity{withToken("scraper", token)}})
	if logged.Len() > 0 {
		t.Errorf("unexpected log output: %s", logged.String())
	}
}

// TestControlCharactersAreEscaped checks that a server's texts cannot control a terminal or add lines to the report.
func TestControlCharactersAreEscaped(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	target := serveText(t, ca, func(*http.Request) string {
		return response(
			"403 Forbidden",
			"Forbidden (user=\x1b[2J\x07me\tyou, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
		)
	}, func(c *x509.Certificate) { c.Subject.CommonName = "a\x1b[31m\nNothing dangerous was found." })
	report := run(t, probe.Options{Target: target, CA: newAuthority(t).Pool()})
	text := table(t, report)
	if strings.ContainsAny(text, "\x1b\x07\t") || strings.Contains(text, "\nNothing dangerous") {
		t.Errorf("the report contains control characters or a line of the server: %q", text)
	}
	if !strings.Contains(text, `me\tyou`) {
		t.Error("the report does not contain the user name with its control character escaped")
	}
}

// TestSlowRefusal checks that an identity sends no further requests after a slow 401.
func TestSlowRefusal(t *testing.T) {
	t.Parallel()
	target := serveText(
		t,
		newAuthority(t),
		refuse,
	)
	report := run(t, probe.Options{Target: target, Patience: 1})
	for _, i := range report.Identities {
		first, second := report.Requests[0].Responses[i.Name], report.Requests[1].Responses[i.Name]
		if first.Status != 401 || second.Access != probe.NotSent ||
			!strings.HasPrefix(second.Error, "the refusal took ") {
			t.Errorf("%s: the responses are %+v and %+v, want a 401 and NotSent", i.Name, first, second)
		}
	}
	if ids := found(report); !slices.Equal(ids, []string{"slow-refusal", "slow-refusal", "slow-refusal"}) ||
		report.Dangerous() {
		t.Errorf("the findings are %q, want slow-refusal for each identity and nothing dangerous", ids)
	}
	if report := run(t, probe.Options{Target: target}); report.Requests[1].Responses[probe.InvalidToken].Status != 401 {
		t.Error("the probe sent no further requests after a fast 401")
	}
}

// TestInterrupted checks that Run returns when ctx is done, even if the server does not respond.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := listener.Accept(); err == nil { // the probe first connects to check the address
			conn.Close()
		}
		if conn, err := listener.Accept(); err == nil {
			defer conn.Close()
		}
		cancel()
	}()
	if _, err := probe.Run(ctx, probe.Options{Target: targetOf(listener)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestInvalidIdentities(t *testing.T) {
	t.Parallel()
	for want, identities := range map[string][]probe.Identity{
		"the name is already in use":        {withToken(probe.NoCredential, "x")},
		"already in use":                    {withToken("a", "x"), withToken("a", "y")},
		"has no name":                       {withToken("", "x")},
		"neither a certificate nor a token": {{Name: "a"}},
	} {
		_, err := probe.Run(
			t.Context(),
			probe.Options{
				Target:               probe.Target{Host: "127.0.0.1", Port: "1"},
				Identities:           identities,
				SendTokensUnverified: true,
			},
		)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the identities %v returned the error %v, want %q", identities, err, want)
		}
	}
}

// TestJSON validates reports against the schema, decodes them, and encodes them again.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t, anonymousReads)
	open := w.start(
		t,
		settings{"authentication": authentication(true, true, "ca.crt"), "readOnlyPort": closedPort(t)},
	)
	for name, options := range map[string]probe.Options{
		"all there is": {Target: open.target, CA: w.ca.Pool(), ReadOnlyPort: open.readOnly,
			Identities: []probe.Identity{w.as(t, "outsider"), w.as(t, "kubelet-client")},
			Compare:    &probe.CompareOptions{File: w.configuration(t, "other.yaml", nil)}},
		"unverified": {Target: open.target, CA: newAuthority(t).Pool(),
			Identities: []probe.Identity{withToken("scraper", scraperToken)}},
		"no certificate": {Target: newWorld(t, "").start(t, settings{"serverTLSBootstrap": true}).target},
	} {
		var first bytes.Buffer
		if err := run(t, options).WriteJSON(&first); err != nil {
			t.Fatal(err)
		}
		document := decoded(t, first.Bytes())
		if err := schemaError(t, "report.schema.json", document); err != nil {
			t.Errorf("%s: the report does not match the schema: %v\n%s", name, err, first.String())
		}
		var again probe.Report
		if err := json.Unmarshal(first.Bytes(), &again); err != nil {
			t.Fatal(err)
		}
		var second bytes.Buffer
		if err := again.WriteJSON(&second); err != nil {
			t.Fatal(err)
		}
		if second.String() != first.String() {
			t.Errorf("%s: decoding and encoding changes the report", name)
		}
		if name != "all there is" {
			continue
		}
		for name, modify := range map[string]func(map[string]any){
			"no settings":    func(report map[string]any) { delete(report, "settings") },
			"another field":  func(report map[string]any) { report["extra"] = 1 },
			"unknown access": func(report map[string]any) { firstResponse(report)["access"] = "maybe" },
			"a body":         func(report map[string]any) { firstResponse(report)["body"] = "x" },
			"a finding without a risk": func(
				report map[string]any) {
				delete(report["findings"].([]any)[0].(map[string]any), "risk")
			},
		} {
			document := decoded(t, first.Bytes())
			modify(document)
			if schemaError(t, "report.schema.json", document) == nil {
				t.Errorf("the schema accepts an invalid report: %s", name)
			}
		}
	}
}

func decoded(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func firstResponse(report map[string]any) map[string]any {
	request := report["requests"].([]any)[0].(map[string]any)
	return request["responses"].(map[string]any)[probe.NoCredential].(map[string]any)
}

// schemaError validates a document against the schema in a file. The validator resolves no references, so the schemas
// that this schema refers to by file name replace the references.
func schemaError(t *testing.T, file string, document any) error {
	t.Helper()
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := regexp.MustCompile(`{"\$ref": "([^"#]+)"}`).ReplaceAllStringFunc(read(file), func(reference string) string {
		return read(strings.Split(reference, `"`)[3])
	})
	var schema spec.Schema
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	return validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(document).AsError()
}
