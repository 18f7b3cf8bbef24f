package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// registering returns a run whose API server accepts every object.
func registering(t *testing.T) *run {
	t.Helper()
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var object map[string]any
		if err := json.NewDecoder(r.Body).Decode(&object); err != nil || r.Method != http.MethodPost {
			t.Errorf("cannot answer the request %s %s: %v", r.Method, r.URL, err)
		}
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_ = json.NewEncoder(w).Encode(object)
	}))
	t.Cleanup(cluster.Close)
	r, err := newRun(Options{
		Cluster: &rest.Config{
			Host:          cluster.URL,
			ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON},
		},
		NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.ctx = t.Context()
	return r
}

// listening returns a kubelet that is closed at the end of the test.
func listening(t *testing.T, o kubeletOptions) *kubelet {
	t.Helper()
	r := registering(t)
	o.node.name, o.selfSigned = "n", true
	k, err := r.kubelet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// await waits, with a timeout, until the function "wanted" returns true for the states of the kubelet's connections.
func await(t *testing.T, k *kubelet, what string, wanted func([]observed) bool) []observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, ok := k.states.Wait(ctx, wanted)
	if !ok {
		t.Fatalf("%s did not arrive; the connections are %+v", what, all)
	}
	return all
}

// TestObserved checks that the recorded state of a connection matches the requests that a client sent.
func TestObserved(t *testing.T) {
	ca, err := testcerts.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Client("kubelet-client", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		config   *tls.Config
		http2    bool
		protocol string
	}{
		{"HTTP/2, with a certificate", &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{pair.TLS()}}, true, "HTTP/2.0"},
		{"HTTP/1.1, with none", &tls.Config{InsecureSkipVerify: true, ServerName: "node-1",
			MaxVersion: tls.VersionTLS12}, false, "HTTP/1.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := listening(t, kubeletOptions{})
			must(t, k.standIn(scenario.Container{Log: scenario.Log{Text: "one\ntwo\n"}}))
			client := &http.Client{
				Transport: &http.Transport{TLSClientConfig: test.config, ForceAttemptHTTP2: test.http2},
			}
			t.Cleanup(client.CloseIdleConnections)
			uri := "/containerLogs/" + k.pod.Namespace + "/" + k.pod.Name + "/" + container + "?tailLines=1"
			request, err := http.NewRequest(http.MethodGet, "https://"+k.Addr().String()+uri, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer the-secret")
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if string(body) != "two\n" {
				t.Errorf("the log is %q, want its last line", body)
			}
			all := k.states.All()
			if len(all) != 1 || len(all[0].Requests) != 1 {
				t.Fatalf("connections %+v, want one connection with one request", all)
			}
			s, got := all[0], all[0].Requests[0]
			if got.Protocol != test.protocol || got.text != test.protocol+" GET "+k.Addr().String()+uri {
				t.Errorf("wrong record of the request: %+v", got)
			}
			if strings.Contains(fmt.Sprintf("%+v", all), "the-secret") {
				t.Error("the value of the Authorization header was recorded")
			}
			if s.Local != k.Addr().String() || s.Remote == "" || s.HandshakeError != nil || isClosed(s) {
				t.Errorf("wrong record of the connection: %+v", s)
			}
			if s.Hello == nil || s.Hello.ServerName != test.config.ServerName || len(s.Hello.CipherSuites) == 0 ||
				slices.Contains(s.Hello.SupportedVersions, tls.VersionTLS13) != (test.config.MaxVersion == 0) {
				t.Errorf("wrong record of the ClientHello: %+v", s.Hello)
			}
			if s.TLS == nil || len(s.TLS.PeerCertificates) != len(test.config.Certificates) {
				t.Errorf("wrong record of the TLS state: %+v", s.TLS)
			}
			client.CloseIdleConnections()
			await(t, k, "the end of the connection", func(all []observed) bool {
				return isClosed(all[0]) && all[0].Requests[0].Ended
			})
		})
	}
}

// TestObservedRefusal checks that the recorded handshake error is the TLS alert of a client that refuses the serving
// certificate.
func TestObservedRefusal(t *testing.T) {
	k := listening(t, kubeletOptions{})
	_, err := tls.Dial("tcp", k.Addr().String(), &tls.Config{ServerName: "node-1", MaxVersion: tls.VersionTLS12})
	if err == nil {
		t.Fatal("an untrusted certificate was accepted")
	}
	all := await(
		t,
		k,
		"the end of the handshake",
		func(all []observed) bool { return len(all) == 1 && all[0].HandshakeError != nil },
	)
	if got := all[0].HandshakeError.Error(); !strings.Contains(got, "bad certificate") || all[0].TLS != nil ||
		all[0].Hello.ServerName != "node-1" {
		t.Errorf("wrong handshake error %s or wrong record of the connection: %+v", got, all[0])
	}
}

// TestRaw exchanges bytes with a raw handler, and checks that closing the kubelet ends the connection.
func TestRaw(t *testing.T) {
	k := listening(t, kubeletOptions{raw: func(conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprintf(conn, "you said %s", line)
		_, _ = io.Copy(io.Discard, conn)
	}})
	conn, err := tls.Dial("tcp", k.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	response := bufio.NewReader(conn)
	if line, err := response.ReadString('\n'); line != "you said hello\n" {
		t.Errorf("received %q and the error %v, want the echoed line", line, err)
	}
	k.Close() // must end the connection, which both sides still hold open
	if rest, _ := io.ReadAll(response); len(rest) > 0 {
		t.Errorf("data arrived after Close: %q", rest)
	}
	if all := k.states.All(); len(all) != 1 || !isClosed(all[0]) || all[0].TLS == nil {
		t.Errorf("wrong record of the connection: %+v", all)
	}
}

// TestSessionsCanBeResumed checks that the second connection of a client with a session cache resumes the TLS session
// of the first connection.
func TestSessionsCanBeResumed(t *testing.T) {
	k := listening(t, kubeletOptions{})
	config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, want := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		answer, err := client.Get("https://" + k.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if all := k.states.All(); len(all) != i+1 || all[i].TLS == nil || all[i].TLS.DidResume != want {
			t.Errorf("connection %d of %+v: want its TLS session resumed: %v", i, all, want)
		}
	}
}
