package server_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/remotecommand"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
	"fauxlet/scenario"
)

const log10 = "/containerLogs/default/nginx/nginx?tailLines=10"

// The method "fault" activates a fault, which is given as JSON.
func (f *fixture) fault(t testing.TB, text string) *faults.Active {
	t.Helper()
	fault, err := faults.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	active, err := f.faults.Add(fault)
	if err != nil {
		t.Fatal(err)
	}
	return active
}

// affectedBy returns a condition for fixture.find. It is true for a Decision that names exactly the given faults.
func affectedBy(names ...string) func(*authchain.Decision) bool {
	return func(d *authchain.Decision) bool { return slices.Equal(d.AffectedBy, names) }
}

// kubeletClient returns a client with the certificate of kubelet-client, which is allowed everything.
func (f *fixture) kubeletClient(t testing.TB) *http.Client {
	t.Helper()
	return f.client(t, f.certificate(t, "kubelet-client"))
}

// The function "printing" returns the pod default/nginx, whose log is the given text.
func printing(text string) []scenario.Pod {
	specs := nginx(1)
	specs[0].Containers["nginx"] = scenario.Container{Log: scenario.Log{Text: text}}
	return specs
}

// TestAnswerFaults checks the response, the Decision and the log for each fault that changes responses.
func TestAnswerFaults(t *testing.T) {
	ten := strings.Repeat("0123456789\n", 10)
	for name, test := range map[string]struct {
		faults []string
		path   string
		// status and body are the expected response. err is the expected error when the client reads the body.
		status     int
		body       string
		err        error
		affectedBy []string
		took       time.Duration // minimum duration
	}{
		"none": {nil, log10, 200, ten, nil, nil, 0},
		"status": {[]string{`{"kind": "status", "status": 503}`}, log10, 503, "Service Unavailable", nil,
			[]string{"status-1"}, 0},
		"status with body": {[]string{`{"kind": "status", "status": 500, "body": "rpc error"}`}, log10, 500,
			"rpc error", nil, []string{"status-1"}, 0},
		"cut": {[]string{`{"kind": "cut", "after": 15}`}, log10, 200, ten[:15], io.ErrUnexpectedEOF,
			[]string{"cut-1"}, 0},
		"cut at once":    {[]string{`{"kind": "cut"}`}, log10, 200, "", io.ErrUnexpectedEOF, []string{"cut-1"}, 0},
		"cut at its end": {[]string{`{"kind": "cut", "after": 110}`}, log10, 200, ten, nil, []string{"cut-1"}, 0},
		"cut of JSON": {[]string{`{"kind": "cut", "after": 1}`}, "/pods", 200, "{", io.ErrUnexpectedEOF,
			[]string{"cut-1"}, 0},
		"slow first byte": {[]string{`{"kind": "slow-first-byte", "delay": "50ms"}`}, log10, 200, ten, nil,
			[]string{"slow-first-byte-1"}, 50 * time.Millisecond},
		"slow body": {[]string{`{"kind": "slow-body", "rate": 1000}`}, log10, 200, ten, nil,
			[]string{"slow-body-1"}, 100 * time.Millisecond},
		"slow, then cut": {[]string{`{"kind": "slow-body", "rate": 1000}`, `{"kind": "cut", "after": 60}`},
			log10, 200, ten[:60], io.ErrUnexpectedEOF, []string{"slow-body-1", "cut-1"}, 55 * time.Millisecond},
		"slow, then failed": {[]string{`{"kind": "status", "status": 500}`,
			`{"kind": "slow-first-byte", "delay": "20ms"}`}, log10, 500, "Internal Server Error", nil,
			[]string{"slow-first-byte-1", "status-1"}, 20 * time.Millisecond},
		"of another route": {[]string{`{"kind": "status", "status": 500, "route": "/exec/**"}`}, log10, 200, ten,
			nil, nil, 0},
		"of another pod": {[]string{`{"kind": "status", "status": 500, "pod": "web-*"}`}, log10, 200, ten, nil,
			nil, 0},
		"of this container": {[]string{`{"kind": "status", "status": 500, "namespace": "default", "pod": "ngin?",
			"container": "nginx"}`}, log10, 500, "Internal Server Error", nil, []string{"status-1"}, 0},
		"of no pod": {[]string{`{"kind": "status", "status": 500, "pod": "*"}`}, "/healthz", 200, "ok", nil,
			nil, 0},
		"of another user": {[]string{`{"kind": "status", "status": 500, "user": "prometheus"}`}, log10, 200, ten,
			nil, nil, 0},
		"of this user": {[]string{`{"kind": "status", "status": 500, "user": "kubelet-*",
			"group": "system:authenticated", "method": "GET"}`}, log10, 500, "Internal Server Error", nil,
			[]string{"status-1"}, 0},
		"of another method": {[]string{`{"kind": "status", "status": 500, "method": "POST"}`}, log10, 200, ten, nil,
			nil, 0},
		"of another node": {[]string{`{"kind": "status", "status": 500, "node": "node-2"}`}, log10, 200, ten, nil,
			nil, 0},
		"of an error": {[]string{`{"kind": "cut", "after": 4}`}, "/containerLogs/default/gone/nginx", 404,
			"pod ", io.ErrUnexpectedEOF, []string{"cut-1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, lines := observer.New(zap.InfoLevel)
			f := newFixture(t, fixtureOptions{logger: zap.New(core), pods: printing(ten)})
			client := f.kubeletClient(t)
			for _, text := range test.faults {
				f.fault(t, text)
			}
			start := time.Now()
			response, err := client.Get(f.url + test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != test.status || !strings.HasPrefix(string(body), test.body) ||
				test.path == log10 && string(body) != test.body || !errors.Is(err, test.err) {
				t.Errorf("%d %q, error %v; want %d %q, error %v", response.StatusCode, body, err, test.status,
					test.body, test.err)
			}
			if took := time.Since(start); took < test.took {
				t.Errorf("the response took %v, want at least %v", took, test.took)
			}
			d := f.decision(t, 1)
			if !affectedBy(test.affectedBy...)(d) || d.Status != test.status {
				t.Errorf("Decision: status %d, affected by %q; want %d, %q", d.Status, d.AffectedBy, test.status,
					test.affectedBy)
			}
			logged := lines.All()[len(lines.All())-1].ContextMap()["affectedBy"]
			if want := fmt.Sprint(test.affectedBy); logged == nil && test.affectedBy != nil || logged != nil &&
				fmt.Sprint(logged) != want {
				t.Errorf("logged %v, want %v", logged, want)
			}
		})
	}
}

func TestCutResetsTheHTTP2StreamOnly(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: noClientCA})
	client := f.withToken(t, "the-token-of-kubelet-client")
	f.fault(t, `{"kind": "cut", "after": 20, "count": 1}`)
	response, err := client.Get(f.url + log10)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.ProtoMajor != 2 || len(body) != 20 || err == nil || !strings.Contains(err.Error(), "stream error") {
		t.Errorf("%s, %d bytes, error %v", response.Proto, len(body), err)
	}
	if again, _ := get(t, client, f.url+log10); again.StatusCode != 200 {
		t.Errorf("then %d", again.StatusCode)
	}
}

// TestStreamFaults checks the effect of faults on exec, with each streaming protocol.
func TestStreamFaults(t *testing.T) {
	for _, protocol := range []string{spdyProtocol, "v5.channel.k8s.io over a WebSocket",
		"v4.channel.k8s.io over a WebSocket"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureOptions{pods: streamed("")})
			exec := func(command string) (string, error) {
				var stdout bytes.Buffer
				err := f.executor(t, protocol,
					"/exec/default/nginx/nginx?output=1&error=1&command="+command).StreamWithContext(t.Context(),
					remotecommand.StreamOptions{Stdout: &stdout, Stderr: io.Discard})
				return stdout.String(), err
			}
			cut := f.fault(t, `{"kind": "cut", "after": 10000, "route": "/exec/**", "count": 1}`)
			// A SPDY client treats the end of the connection as the end of the command.
			if stdout, err := exec("big"); (err == nil) != (protocol == spdyProtocol) || len(stdout) >= 10000 ||
				!strings.HasPrefix(strings.Repeat("0123456789abcdef", 1<<16), stdout) {
				t.Errorf("cut: %d bytes, error %v", len(stdout), err)
			}
			f.find(t, "of the exec that was cut", func(d *authchain.Decision) bool {
				return d.Status == 101 && slices.Equal(d.AffectedBy, []string{cut.Name})
			})
			if stdout, err := exec("greet"); err != nil || stdout != "hello\n" {
				t.Errorf("after the cut: %q, %v", stdout, err)
			}
			slow := f.fault(t, `{"kind": "slow-body", "rate": 500, "container": "nginx"}`)
			if stdout, err := exec("greet"); err != nil || stdout != "hello\n" {
				t.Errorf("slow: %q, %v", stdout, err)
			}
			f.find(t, "of the slow exec", affectedBy(slow.Name))
			f.fault(t, `{"kind": "status", "status": 500, "body": "no runtime", "pod": "nginx"}`)
			if _, err := exec("greet"); err == nil || !strings.Contains(err.Error(), "500") &&
				!strings.Contains(err.Error(), "no runtime") && !strings.Contains(err.Error(), "bad handshake") {
				t.Errorf("status: %v", err)
			}
		})
	}
}

func TestFollowedLogIsCut(t *testing.T) {
	specs := nginx(1)
	log := scenario.Log{Interval: metav1.Duration{Duration: 5 * time.Millisecond}}
	specs[0].Containers["nginx"] = scenario.Container{Log: log}
	f := newFixture(t, fixtureOptions{pods: specs})
	f.fault(t, `{"kind": "cut", "after": 1000, "container": "nginx", "count": 1}`)
	response, err := f.kubeletClient(t).Get(f.url + "/containerLogs/default/nginx/nginx?follow=1&tailLines=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if len(body) != 1000 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, error %v", len(body), err)
	}
}

func TestStoppingTheServerEndsDelays(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.kubeletClient(t)
	slow := f.fault(t, `{"kind": "slow-first-byte", "delay": "1h"}`)
	answered := make(chan int, 1)
	go func() {
		response, err := client.Get(f.url + log10)
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	eventually(t, "the request is slow", func() bool { return slow.Applied() == 1 })
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != 200 {
		t.Errorf("the request in progress: %d", status)
	}
}

func TestReadOnlyPortHasFaultsButNoUsers(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: fmt.Sprintf("readOnlyPort: %d\n", freePort(t))})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	f.fault(t, `{"kind": "status", "status": 500, "user": "*"}`)
	if got, _ := get(t, client, f.readOnly+"/pods"); got.StatusCode != 200 {
		t.Errorf("with a fault for users: %d", got.StatusCode)
	}
	f.fault(t, `{"kind": "status", "status": 502, "route": "/pods"}`)
	if got, _ := get(t, client, f.readOnly+"/pods"); got.StatusCode != 502 {
		t.Errorf("with a fault for the route: %d", got.StatusCode)
	}
}

func TestShareFailsTheSameRequestsInEachRun(t *testing.T) {
	run := func() (failed []int) {
		f := newFixture(t, fixtureOptions{})
		client := f.kubeletClient(t)
		f.fault(t, `{"kind": "status", "status": 500, "route": "/healthz", "share": 0.3, "seed": 5}`)
		for i := range 40 {
			if got, _ := get(t, client, f.url+"/healthz"); got.StatusCode == 500 {
				failed = append(failed, i)
			}
			if got, _ := get(t, client, f.url+"/pods"); got.StatusCode != 200 { // the fault does not apply to /pods
				t.Errorf("/pods: %d", got.StatusCode)
			}
		}
		return failed
	}
	first, second := run(), run()
	if len(first) < 5 || len(first) > 20 || !slices.Equal(first, second) {
		t.Errorf("failed requests %v in the first run, %v in the second", first, second)
	}
}

func TestMetricsHaveTheActiveFaultsOfTheNode(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.kubeletClient(t)
	if _, text := get(t, client, f.url+"/metrics"); strings.Contains(text, "fauxlet_fault") {
		t.Error("/metrics has faults, although no fault is active")
	}
	f.fault(t, `{"kind": "status", "status": 500, "route": "/healthz"}`)
	f.fault(t, `{"kind": "cut", "node": "node-2"}`)
	get(t, client, f.url+"/healthz")
	samples := f.scrape(t, client)
	for name, want := range map[string]float64{
		`fauxlet_fault_active{fault="status-1",kind="status"}`:        1,
		`fauxlet_fault_applied_total{fault="status-1",kind="status"}`: 1,
	} {
		if got, found := samples[name]; !found || got != want {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
	if _, text := get(t, client, f.url+"/metrics"); strings.Contains(text, "cut-1") {
		t.Error("/metrics has a fault of another node")
	}
}

// TestNoFaultGrantsAccess checks that no kind of fault gives access to a client that the Server refuses when there is
// no fault.
func TestNoFaultGrantsAccess(t *testing.T) {
	kinds := []string{
		`{"kind": "serving-certificate", "certificate": "server-self-signed"}`,
		`{"kind": "slow-handshake", "delay": "1ms"}`,
		`{"kind": "slow-first-byte", "delay": "1ms"}`,
		`{"kind": "slow-body", "rate": 100000}`,
		`{"kind": "cut", "after": 5}`,
		`{"kind": "status", "status": 404}`,
		`{"kind": "reviewer-down"}`,
		`{"kind": "reviewer-slow", "delay": "1ms"}`,
		`{"kind": "reviewer-error"}`,
		`{"kind": "reviewer-error", "status": 403, "body": "x"}`,
		`{"kind": "reviewer-wrong"}`,
		`{"kind": "reviewer-wrong", "answer": "other-user", "as": "kubelet-client"}`,
		`{"kind": "reviewer-revoking"}`,
		`{"kind": "caches-flushed"}`,
		`{"kind": "clock-skew", "skew": "-2h"}`,
		`{"kind": "memory-heavy", "memory": "1Gi"}`,
	}
	explained := map[string]bool{faults.ConnectionRefused: true, faults.ConnectionReset: true,
		faults.ConnectionBlackHole: true} // no request arrives
	for _, text := range kinds {
		fault, err := faults.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		explained[fault.Kind] = true
	}
	for _, kind := range faults.Kinds() {
		if !explained[kind.Name] {
			t.Errorf("the fault kind %s is not tested", kind.Name)
		}
	}
	f := newFixture(t, fixtureOptions{yaml: "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 1ns, " +
		"cacheUnauthorizedTTL: 1ns}}\n"})
	expired, err := f.ca.Client("late", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-3*time.Hour), time.Now().Add(-time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	late := expired.TLS()
	insecure := func(client *http.Client) *http.Client {
		transport := client.Transport
		if b, ok := transport.(bearer); ok {
			transport = b.Transport
		}
		transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
		return client
	}
	clients := map[string]func() *http.Client{
		"no credential":    func() *http.Client { return f.client(t, nil) },
		"expired":          func() *http.Client { return f.client(t, &late) },
		"viewer":           func() *http.Client { return f.client(t, f.certificate(t, "viewer")) },
		"prometheus":       func() *http.Client { return f.withToken(t, "the-token-of-prometheus") },
		"an unknown token": func() *http.Client { return f.withToken(t, "unknown") },
	}
	for _, text := range kinds {
		f.faults.Clear()
		f.fault(t, text)
		for name, client := range clients {
			for range 2 {
				response, err := insecure(client()).Get(f.url + log10)
				if err != nil {
					continue
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode < 400 {
					t.Errorf("%s: %s was allowed: %d", text, name, response.StatusCode)
				}
			}
		}
	}
}
