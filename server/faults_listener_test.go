package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

// shakeAt performs a TLS handshake in which the client expects the serving certificate to be valid for the given host
// name or IP address.
func (f *fixture) shakeAt(host string, config *tls.Config) (tls.ConnectionState, error) {
	config.ServerName = host
	conn, err := tls.Dial("tcp", f.address, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// TestClientsRejectTheCertificatesOfFaults tests each certificate that the fault "serving-certificate" can present. No
// client trusts the CA that signs these certificates. But Go clients, such as a kube-apiserver, check dates and names
// before the CA, so for some certificates they report a wrong date or name. For each certificate, the first client
// dials an IP address and verifies the certificate. The second client does not verify it, so that the test can examine
// it.
func TestClientsRejectTheCertificatesOfFaults(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	unknown := "certificate signed by unknown authority"
	tested := map[string]string{
		"server":                  unknown,
		"server-intermediate":     unknown,
		"server-other-node":       unknown,
		"server-kubelet-default":  "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
		"server-self-signed":      unknown,
		"server-unknown-ca":       unknown,
		"server-chain-missing":    unknown,
		"server-expired":          "certificate has expired or is not yet valid: current time ",
		"server-not-yet-valid":    "certificate has expired or is not yet valid: current time ",
		"server-other-host":       "certificate is valid for 192.0.2.1, not 127.0.0.1",
		"server-common-name-only": "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
		"server-client-usage":     unknown,
		"server-sha1":             unknown,
	}
	for _, kind := range testcerts.Kinds() {
		if kind.Serving && tested[kind.Name] == "" {
			t.Errorf("%s is not tested", kind.Name)
		}
	}
	for kind, want := range tested {
		t.Run(kind, func(t *testing.T) {
			fault := f.fault(t, fmt.Sprintf(`{"name": %q, "kind": "serving-certificate", "certificate": %[1]q}`,
				kind))
			_, err := f.shakeAt("127.0.0.1", &tls.Config{RootCAs: f.ca.Pool()})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("by address: %v, want %s", err, want)
			}
			f.find(t, "the handshake", func(d *authchain.Decision) bool {
				return strings.Contains(d.Handshake, "the client does not accept the serving certificate") &&
					len(d.AffectedBy) == 1 && d.AffectedBy[0] == kind
			})
			state, err := f.shakeAt("kubelet.example", &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			names := state.PeerCertificates[0].VerifyHostname
			if good := names("node-1") == nil && names("kubelet.example") == nil && names("127.0.0.1") == nil &&
				names("localhost") == nil; good != (want == unknown ||
				strings.HasPrefix(want, "certificate has expired")) {
				t.Errorf("the certificate is valid for %q, %q", state.PeerCertificates[0].DNSNames,
					state.PeerCertificates[0].IPAddresses)
			}
			if fault.Applied() != 2 {
				t.Errorf("the fault was applied %d times, want 2", fault.Applied())
			}
			if err := f.faults.Remove(kind); err != nil {
				t.Fatal(err)
			}
			if _, err := f.handshake(t, &tls.Config{RootCAs: f.ca.Pool()}); err != nil {
				t.Errorf("after the fault was removed: %v", err)
			}
		})
	}
}

// TestDecisionsNameTheCertificateFaultOfTheirConnection uses a client that does not verify certificates, so that its
// requests succeed during the fault.
func TestDecisionsNameTheCertificateFaultOfTheirConnection(t *testing.T) {
	for name, authentication := range map[string]string{"HTTP/1.1": "", "HTTP/2": noClientCA} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fixtureOptions{authentication: authentication})
			client := f.withToken(t, "the-token-of-kubelet-client")
			transport := client.Transport.(bearer).Transport
			transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			transport.TLSClientConfig.InsecureSkipVerify = true
			ask := func() (proto string, resumed bool) {
				response, err := client.Get(f.url + log10)
				if err != nil && name == "HTTP/2" { // the server may have just closed the connection
					response, err = client.Get(f.url + log10)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				io.Copy(io.Discard, response.Body)
				return response.Proto, response.TLS.DidResume
			}
			ask()
			transport.CloseIdleConnections()
			if proto, resumed := ask(); !resumed || !strings.HasPrefix(proto, name) {
				t.Fatalf("without a fault: %s, resumed: %v", proto, resumed)
			}
			// The client must see the faulty certificate: it may neither reuse the open connection nor resume a
			// session.
			fault := f.fault(t, `{"kind": "serving-certificate", "certificate": "server-expired"}`)
			for range 2 {
				if proto, resumed := ask(); resumed || !strings.HasPrefix(proto, name) {
					t.Errorf("%s, resumed: %v", proto, resumed)
				}
			}
			if !affectedBy(fault.Name)(f.decision(t, 3)) || !affectedBy(fault.Name)(f.decision(t, 4)) ||
				fault.Applied() != 1 {
				t.Errorf("affected by %q and %q; the fault was applied %d times", f.decision(t, 3).AffectedBy,
					f.decision(t, 4).AffectedBy, fault.Applied())
			}
			f.faults.Clear()
			ask()
			if d := f.decision(t, 5); len(d.AffectedBy) > 0 {
				t.Errorf("after the fault: %q", d.AffectedBy)
			}
		})
	}
}

func TestConnectionRefusedClosesBothPorts(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: fmt.Sprintf("readOnlyPort: %d\n", freePort(t))})
	client := f.kubeletClient(t)
	get(t, client, f.url+log10) // opens a connection, which must not be reused during the fault
	get(t, client, f.readOnly+"/pods")
	for range 2 {
		fault := f.fault(t, `{"kind": "connection-refused"}`)
		if _, err := client.Get(f.url + log10); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("secure port: %v", err)
		}
		if _, err := client.Get(f.readOnly + "/pods"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("read-only port: %v", err)
		}
		if fault.Applied() != 2 {
			t.Errorf("%d ports closed", fault.Applied())
		}
		f.fault(t, `{"kind": "connection-refused", "node": "node-2"}`)
		f.faults.Remove(fault.Name)
		if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
			t.Errorf("afterwards: %d", got.StatusCode)
		}
		if got, _ := get(t, client, f.readOnly+"/pods"); got.StatusCode != 200 {
			t.Errorf("afterwards: %d", got.StatusCode)
		}
		f.faults.Clear()
	}
	f.fault(t, `{"kind": "connection-refused"}`)
	if err := f.stop(); err != nil {
		t.Errorf("Serve, stopped while the fault refuses connections: %v", err)
	}
}

func TestPortIsReopenedWhenItIsFreeAgain(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.kubeletClient(t)
	f.fault(t, `{"kind": "connection-refused"}`)
	other, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	f.faults.Clear()
	other.Close()
	eventually(t, "the port is open again", func() bool {
		response, err := client.Get(f.url + log10)
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
}

func TestConnectionResetHasADecision(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.kubeletClient(t)
	get(t, client, f.url+log10)
	fault := f.fault(t, `{"kind": "connection-reset", "count": 2}`)
	for range 2 {
		if _, err := f.shakeAt("localhost", &tls.Config{RootCAs: f.ca.Pool()}); !errors.Is(err,
			syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%v", err)
		}
	}
	if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
		t.Errorf("then %d", got.StatusCode)
	}
	for _, number := range []int{2, 3} {
		if d := f.decision(t, number); !affectedBy(fault.Name)(d) ||
			d.Handshake != "the connection was reset before a handshake" {
			t.Errorf("Decision %+v", d)
		}
	}
	if samples := f.scrape(t, client); samples["fauxlet_tls_handshake_failures_total"] != 2 {
		t.Errorf("%v failures are counted", samples["fauxlet_tls_handshake_failures_total"])
	}
}

// TestConnectionBlackHoleNeverAnswers checks that the Server never answers during the fault, and that it closes the
// connection when the fault ends or the Server stops.
func TestConnectionBlackHoleNeverAnswers(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	fault := f.fault(t, `{"kind": "connection-black-hole"}`)
	client := f.kubeletClient(t)
	client.Transport.(*http.Transport).TLSHandshakeTimeout = 50 * time.Millisecond
	if _, err := client.Get(f.url + log10); err == nil || !strings.Contains(err.Error(), "TLS handshake timeout") {
		t.Errorf("%v", err)
	}
	if d := f.decision(t, 1); !affectedBy(fault.Name)(d) ||
		d.Handshake != "the connection was accepted, and is never answered" {
		t.Errorf("Decision %+v", d)
	}
	conn := f.dial(t)
	io.WriteString(conn, "anything")
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("during the fault: read %d bytes, %v; want no bytes until the deadline", n, err)
	}
	f.faults.Clear()
	conn.SetReadDeadline(time.Time{})
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("when the fault has ended: read %d bytes, %v; want io.EOF", n, err)
	}
	client = f.kubeletClient(t)
	if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
		t.Errorf("afterwards: %d", got.StatusCode)
	}
	fault = f.fault(t, `{"kind": "connection-black-hole"}`)
	conn = f.dial(t)
	eventually(t, "the connection is swallowed", func() bool { return fault.Applied() == 1 })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("when the server stops: %v, want io.EOF", err)
	}
}

func TestSlowHandshakeIsNamedInDecisions(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	fault := f.fault(t, `{"kind": "slow-handshake", "delay": "60ms", "count": 1}`)
	client := f.kubeletClient(t)
	start := time.Now()
	if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 || time.Since(start) < 60*time.Millisecond {
		t.Errorf("%d in %v", got.StatusCode, time.Since(start))
	}
	if d := f.decision(t, 1); !affectedBy(fault.Name)(d) {
		t.Errorf("affected by %q, want the fault slow-handshake", d.AffectedBy)
	}
	fault = f.fault(t, `{"kind": "slow-handshake", "name": "slow", "delay": "1h"}`)
	f.dial(t).Close()
	eventually(t, "the connection is accepted", func() bool { return fault.Applied() == 1 })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if d := f.find(t, "the handshake that the client gave up", isHandshake); !affectedBy("slow")(d) {
		t.Errorf("affected by %q, want the fault slow", d.AffectedBy)
	}
}

// TestFaultsChangeUnderLoad adds and removes faults while clients send requests. Afterwards all requests succeed
// again.
func TestFaultsChangeUnderLoad(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		client := f.kubeletClient(t)
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if response, err := client.Get(f.url + log10); err == nil {
					io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			}
		})
	}
	for range 5 {
		for _, text := range []string{
			`{"kind": "connection-refused"}`, `{"kind": "connection-reset", "share": 0.5}`,
			`{"kind": "serving-certificate", "certificate": "server-expired"}`,
			`{"kind": "connection-black-hole", "count": 1}`, `{"kind": "caches-flushed"}`,
			`{"kind": "cut", "after": 3}`, `{"kind": "clock-skew", "skew": "-1h"}`, `{"kind": "reviewer-wrong"}`,
		} {
			f.fault(t, text)
			if text != `{"kind": "connection-reset", "share": 0.5}` {
				f.faults.Clear()
			}
		}
	}
	close(done)
	clients.Wait()
	if got, _ := get(t, f.kubeletClient(t), f.url+log10); got.StatusCode != 200 || !f.faults.Empty() {
		t.Errorf("afterwards: %d", got.StatusCode)
	}
}
