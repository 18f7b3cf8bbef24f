package same

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/vectors"
)

// TestSameLongProfile compares the answers to requests for a profile and a trace of 11 s. Other tests wait less than
// that for an answer.
func TestSameLongProfile(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	sides := sidesNamed(t, "defaults")
	type answer struct {
		Status  int
		Header  http.Header
		Profile string // what is wrong with the body
	}
	for _, path := range []string{"/debug/pprof/profile?seconds=11", "/debug/pprof/trace?seconds=11"} {
		var answers [2]answer
		var group sync.WaitGroup
		for i, s := range sides {
			group.Go(func() {
				response, err := s.client().Get("https://" + s.Secure + path)
				if err != nil {
					answers[i].Profile = err.Error()
					return
				}
				defer response.Body.Close()
				answers[i].Status, answers[i].Header = response.StatusCode, response.Header
				response.Header.Del("Date")
				response.Header.Del("Content-Length") // of a profile, which depends on the process
				body := bufio.NewReader(response.Body)
				if begin, _ := body.Peek(2); string(begin) == "\x1f\x8b" { // a profile is compressed, a trace is not
					if _, err = gzip.NewReader(body); err != nil {
						answers[i].Profile = err.Error()
					}
				}
				if n, err := io.Copy(io.Discard, body); n == 0 || err != nil {
					answers[i].Profile += "the body cannot be read"
				}
			})
		}
		group.Wait()
		if difference := cmp.Diff(answers[0], answers[1]); difference != "" || answers[0].Status != http.StatusOK {
			t.Errorf("%s: the reference answers %+v, the difference to fauxlet is\n%s", path, answers[0], difference)
		}
	}
}

// TestSameIPv6 compares answers over IPv6.
func TestSameIPv6(t *testing.T) {
	t.Parallel()
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	how := allConfigurations(corpus)["defaults"]
	how.ipv6 = true
	c := newComparison(t, "ipv6", readDivergences(t), startSides(t, how, newClients(t, corpus)))
	var all []conversation
	for _, as := range []string{"kubelet-client", "outsider", "no-credential"} {
		for _, path := range []string{"/healthz", "/pods", "/containerLogs/default/nginx/nginx?tailLines=3", "/logs/",
			"/metrics/probes", "/exec/default/nginx/nginx?output=1", "/nothing"} {
			if _, known := c.sides[0].clients[as]; known {
				all = append(all, conversation{From: "endings_test.go", As: as,
					Requests: []request{{Method: "GET", Path: path}}})
			}
		}
	}
	for _, path := range []string{"/healthz", "/pods", "/metrics/probes", "/containerLogs/default/nginx/nginx"} {
		all = append(all, conversation{From: "endings_test.go", As: "kubelet-client", ReadOnly: true,
			Requests: []request{{Method: "GET", Path: path}}})
	}
	c.run(all, how)
	c.summarize()
}

// TestSIGTERM sends SIGTERM to both servers while a client follows a log and another runs a command. Both connections
// end. A kubelet cuts the log's response off, and fauxlet ends it, as docs/fidelity.md says.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	for i, s := range sidesNamed(t, "defaults") {
		const follow = "/containerLogs/default/nginx/nginx?follow=true&tailLines=1"
		response, err := s.client().Get("https://" + s.Secure + follow)
		expect.NoError(t, err)
		defer response.Body.Close()
		log := bufio.NewReader(response.Body)
		_, err = log.ReadString('\n')
		expect.NoError(t, err)

		certificate := s.clients["kubelet-client"].Certificate
		key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
		expect.NoError(t, err)
		config := &rest.Config{Host: "https://" + s.Secure, TLSClientConfig: rest.TLSClientConfig{Insecure: true,
			CertData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
			KeyData:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}}
		exec, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, &url.URL{Scheme: "https", Host: s.Secure,
			Path: "/exec/default/nginx/nginx", RawQuery: url.Values{"output": {"1"},
				"command": {"sh", "-c", "echo begun; sleep 1000"}}.Encode()})
		expect.NoError(t, err)
		output, stdout := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- exec.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdout: stdout})
			stdout.Close()
		}()
		_, err = bufio.NewReader(output).ReadString('\n')
		expect.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, output) }()

		expect.NoError(t, s.Stop())
		_, err = io.Copy(io.Discard, log)
		if want := []error{io.ErrUnexpectedEOF, nil}[i]; !errors.Is(err, want) {
			t.Errorf("%s: the log ends with %v, want %v", s.kind, err, want)
		}
		select {
		case <-ended: // the client does not report that the connection has ended early
		case <-time.After(time.Minute):
			t.Errorf("%s: the exec does not end", s.kind)
		}
	}
}

// sidesNamed starts both servers with a configuration of internal/vectors.
func sidesNamed(t *testing.T, configuration string) [2]*side {
	t.Helper()
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	return startSides(t, allConfigurations(corpus)[configuration], newClients(t, corpus))
}

// client returns a client with the certificate of kubelet-client.
func (s *side) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.clients["kubelet-client"].TLS(),
		DisableKeepAlives: true}}
}
