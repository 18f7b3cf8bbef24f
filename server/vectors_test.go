package server_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/internal/vectors"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// TestVectors sends the requests of the corpus in internal/vectors, over real TLS and with a real review API. It
// compares the Decisions with the expected ones. The tests in e2e send the same requests to the kubelet's own server.
func TestVectors(t *testing.T) {
	corpus, err := vectors.Load()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]vectors.Case{}
	for _, c := range corpus.Cases {
		cases[c.Configuration] = append(cases[c.Configuration], c)
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			a := newAsked(t, corpus.Configurations[name])
			for _, c := range cases[name] {
				t.Run(c.Name(), func(t *testing.T) { a.hold(t, &c, corpus.Clients[c.Client]) })
			}
		})
	}
}

// TestMetricsWithDebuggingOff checks the metrics of paths that are refused, and of a path that does not exist.
func TestMetricsWithDebuggingOff(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: "enableDebuggingHandlers: false\n"})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for path, bucket := range map[string]string{"/pprof": "pprof", "/debug/pprof/": "other", "/run/": "run",
		"/logs/": "logs", "/configz": "other"} {
		f.ask(t, client, "PUT", path)
		name := `kubelet_http_requests_total{long_running="false",method="PUT",path="` + bucket +
			`",server_type="readwrite"}`
		if f.scrape(t, client)[name] == 0 {
			t.Errorf("after PUT %s, /metrics does not have %s", path, name)
		}
	}
}

// asked is a Server with one configuration of the corpus in internal/vectors. The test sends it the corpus's requests.
type asked struct {
	*fixture
	clients  map[string]*tls.Certificate
	reviewed uint64
}

func newAsked(t *testing.T, settings vectors.Settings) *asked {
	t.Helper()
	a := &asked{clients: map[string]*tls.Certificate{}}
	a.fixture = newFixture(t, fixtureOptions{
		flags:    []string{"--read-only-port=" + strconv.Itoa(freePort(t))},
		pods:     vectorPods(),
		nodeLogs: map[string]string{"kubelet.log": "started\n", "containers/deep/er/c.log": "c\n"},
		before: func(f *fixture) {
			all := vectors.Settings{
				"address": "127.0.0.1", "authentication.x509.clientCAFile": "ca.crt",
				"authentication.webhook.cacheTTL":          "1ns",
				"authorization.webhook.cacheAuthorizedTTL": "1ns", "authorization.webhook.cacheUnauthorizedTTL": "1ns",
			}
			maps.Copy(all, settings)
			text, err := all.YAML()
			if err != nil {
				t.Fatal(err)
			}
			f.write(t, "kubelet.yaml", string(text))
			f.write(t, "rbac.yaml", string(vectors.RBAC))
			f.write(t, "tokens.csv", string(vectors.Tokens))
		},
	})
	return a
}

// vectorPods contains the pod default/nginx with two containers. The container nginx has been restarted.
func vectorPods() []scenario.Pod {
	return []scenario.Pod{{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx",
				UID: "8a5a2b1c-0000-4000-8000-000000000005"},
			Spec: v1.PodSpec{Containers: []v1.Container{{Name: "nginx", Image: "nginx:1"},
				{Name: "sidecar", Image: "sidecar:1"}}},
		},
		Containers: map[string]scenario.Container{
			"nginx": {Log: scenario.Log{Lines: 3,
				Previous: &scenario.Log{Lines: 1}}}, "sidecar": {Log: scenario.Log{Lines: 1}},
		},
	}}
}

func (a *asked) hold(t *testing.T, c *vectors.Case, client vectors.Client) {
	t.Helper()
	if err := a.faults.Replace(c.Where, c.Faults); err != nil {
		t.Fatalf("%s: %v", c.Where, err)
	}
	defer a.faults.Clear()
	before := a.seen()
	response, body, err := a.send(t, c, client)
	if err != nil {
		t.Fatalf("%s: %v", c.Where, err)
	}
	decision := a.decision(t, before+1)

	observed := vectors.Observed{Status: response.StatusCode, Header: response.Header, Body: body}
	for _, record := range a.reviews.Reviews() {
		if record.Number > a.reviewed {
			observed.AddReview(record.Access)
		}
		a.reviewed = max(a.reviewed, record.Number)
	}
	for _, problem := range append(c.Problems(observed), decisionProblems(&c.Want, decision)...) {
		t.Errorf("%s: %s", c.Where, problem)
	}
}

// decisionProblems returns the differences between a Decision and the expected one.
func decisionProblems(want *vectors.Expectation, got *authchain.Decision) []string {
	var all []string
	if asked := len(got.Authentication) > 0; asked == want.NoAuthentication {
		all = append(all, fmt.Sprintf("authenticated: %v", asked))
	}
	user := ""
	if got.User != nil {
		user = got.User.GetName()
		if want.Groups != nil &&
			!slices.Equal(slices.Sorted(slices.Values(got.User.GetGroups())),
				slices.Sorted(slices.Values(want.Groups))) {
			all = append(all, fmt.Sprintf("groups %q, want %q", got.User.GetGroups(), want.Groups))
		}
	}
	if user != want.User {
		all = append(all, fmt.Sprintf("user %q, want %q", user, want.User))
	}
	outcome := map[vectors.Authorization]string{vectors.Allowed: "allowed", vectors.AlwaysAllow: "allowed",
		vectors.Denied: "refused", vectors.CheckError: "error"}[want.Authorization]
	if outcome != "" && got.Outcome() != outcome {
		all = append(all, fmt.Sprintf("outcome %s, want %s", got.Outcome(), outcome))
	}
	if !strings.Contains(got.Why(), want.Reason) {
		all = append(all, fmt.Sprintf("because %q, want %q in it", got.Why(), want.Reason))
	}
	return all
}

// send sends the bytes of a request of the corpus unchanged, on a new connection.
func (a *asked) send(t *testing.T, c *vectors.Case, client vectors.Client) (*http.Response, string, error) {
	t.Helper()
	var conn net.Conn
	var err error
	if c.ReadOnly {
		conn, err = net.Dial("tcp", strings.TrimPrefix(a.readOnly, "http://"))
	} else {
		config := &tls.Config{RootCAs: a.ca.Pool()}
		if certificate := a.certificateOf(t, c.Client, client); certificate != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate,
				error) {
				return certificate, nil
			}
		}
		conn, err = tls.Dial("tcp", a.address, config)
	}
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, "", err
	}
	if _, err := conn.Write(c.Bytes(client)); err != nil {
		return nil, "", err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: c.Method})
	if err != nil {
		return nil, "", fmt.Errorf("no response: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		if strings.HasPrefix(c.Path,
			"/exec/") { // the command ends by itself, so its streams end too
			_, err = io.Copy(io.Discard, reader)
		}
		return response, "", err
	}
	body, err := io.ReadAll(response.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) { // the log ended with an error after its first bytes
		err = nil
	}
	return response, string(body), err
}

// certificateOf creates the certificate of a client of the corpus, or returns nil if the client has no certificate.
func (a *asked) certificateOf(t *testing.T, name string, client vectors.Client) *tls.Certificate {
	t.Helper()
	if client.Kind == "" {
		return nil
	}
	if known := a.clients[name]; known != nil {
		return known
	}
	kind, err := testcerts.KindNamed(client.Kind)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := kind.Mint(a.ca,
		testcerts.Request{CommonName: client.CommonName, Organizations: client.Organizations})
	if err != nil {
		t.Fatal(err)
	}
	certificate := pair.TLS()
	a.clients[name] = &certificate
	return &certificate
}
