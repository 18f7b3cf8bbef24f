package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"fauxlet/authchain"
)

// BenchmarkRequest measures one request inside the process, without a connection: with a client certificate, a
// cached SubjectAccessReview, and a short response. The number of allocations must not grow.
func BenchmarkRequest(b *testing.B) {
	options := fixtureOptions{observe: func(*authchain.Decision) {}}
	f := prepare(b, options)
	standin, err := f.newServer(b, options)
	if err != nil {
		b.Fatal(err)
	}
	handler := standin.Handler()
	certificate := f.certificate(b, "kubelet-client")
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate.Leaf}}
	for _, path := range []string{"/healthz", "/pods", "/containerLogs/default/nginx/nginx?tailLines=1"} {
		b.Run(path[1:5], func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				request := httptest.NewRequest("GET", path, nil)
				request.TLS = state
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusOK {
					text, _ := io.ReadAll(recorder.Body)
					b.Fatalf("%d %s", recorder.Code, text)
				}
			}
		})
	}
}
