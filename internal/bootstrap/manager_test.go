package bootstrap

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
)

// The type "held" is a certificate store that contains one certificate.
type held struct{ certificate *tls.Certificate }

func (h held) Current() (*tls.Certificate, error) { return h.certificate, nil }

func (h held) Update(_, _ []byte) (*tls.Certificate, error) {
	return nil, errors.New("this test stores no issued certificate")
}

func (h held) CurrentPath() string { return "" }

// The function "asleep" starts a rotation whose certificate is valid for another hour. The returned channel receives a
// value for each call of ClientsetFn.
func asleep(t *testing.T, template *x509.CertificateRequest) (*rotation, <-chan bool) {
	t.Helper()
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now(),
		NotAfter: time.Now().Add(time.Hour)}
	requests := make(chan bool, 10)
	files := &store{FileStore: held{&tls.Certificate{Leaf: leaf}}}
	r, err := newRotation("node", files, &requestLogger{}, certificate.Config{
		GetTemplate: func() *x509.CertificateRequest { return template },
		GetUsages:   certificate.DefaultKubeletServingGetUsages,
		ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) {
			requests <- true
			return nil, errors.New("this test has no apiserver")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(r.Stop)
	return r, requests
}

// TestOverslept checks that the certificate library wakes and calls ClientsetFn if the certificate expires before it is
// renewed, for example because the clock has jumped. If GetTemplate returns nil, the library must not call ClientsetFn.
func TestOverslept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // this cleanup runs last, so that all goroutines can end
		wanted := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "node"}}
		jumps, jumpsRequests := asleep(t, wanted)
		_, staysRequests := asleep(t, wanted)
		nothing, nothingRequests := asleep(t, nil)
		if jumps.overslept() {
			t.Error("overslept is true although the certificate is valid")
		}
		for _, r := range []*rotation{jumps, nothing} {
			r.files.expires.Store(time.Now().UnixNano() - 1) // simulate that the clock has jumped past the expiry
			if !r.overslept() {
				t.Error("overslept is false although the certificate has expired")
			}
		}
		time.Sleep(20 * time.Second)
		if len(jumpsRequests) == 0 {
			t.Fatal("the library did not call ClientsetFn within 20 s")
		}
		if jumps.overslept() {
			t.Error("overslept is true although the library is awake")
		}
		if len(staysRequests) != 0 || len(nothingRequests) != 0 {
			t.Errorf("%d requests with a valid certificate, and %d without a template; want none", len(staysRequests),
				len(nothingRequests))
		}
	})
}

// TestNameInCommand checks that a command in the log quotes the name that an apiserver has given to a request.
func TestNameInCommand(t *testing.T) {
	core, log := observer.New(zap.InfoLevel)
	(&requestLogger{logger: zap.New(core)}).created("csr; echo \u202e", nil)
	want := `kubectl certificate approve $'csr; echo \342\200\256'`
	if got := log.All()[0].ContextMap()["approve"]; got != want {
		t.Errorf("the log has the command %s, want %s", got, want)
	}
}
