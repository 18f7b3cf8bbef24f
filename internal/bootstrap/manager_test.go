package bootstrap

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
)

// held is a store that holds one certificate.
type held struct{ certificate *tls.Certificate }

func (h held) Current() (*tls.Certificate, error) { return h.certificate, nil }

func (h held) Update(_, _ []byte) (*tls.Certificate, error) {
	return nil, errors.New("nothing is issued here")
}

// asleep is a rotation whose certificate is good for another hour, and who asks for clients of it.
func asleep(t *testing.T, template *x509.CertificateRequest) (*rotation, <-chan bool) {
	t.Helper()
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	asks := make(chan bool, 10)
	r, err := newRotation("node", certificate.Config{
		GetTemplate:      func() *x509.CertificateRequest { return template },
		GetUsages:        certificate.DefaultKubeletServingGetUsages,
		CertificateStore: held{&tls.Certificate{Leaf: leaf}},
		ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) {
			asks <- true
			return nil, errors.New("there is no apiserver here")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(r.Stop)
	return r, asks
}

// TestOverslept: the library is woken when its certificate has expired before it was due, which is what a jump of the clock
// does, and not where there is nothing to ask for.
func TestOverslept(t *testing.T) {
	t.Parallel()
	wanted := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "node"}}
	jumps, jumpsAsks := asleep(t, wanted)
	_, staysAsks := asleep(t, wanted)
	nothing, nothingAsks := asleep(t, nil)
	if jumps.overslept() {
		t.Error("it has overslept a certificate that is good")
	}
	for _, r := range []*rotation{jumps, nothing} {
		r.expires.Store(time.Now().UnixNano() - 1) // all that a jump is to it
		if !r.overslept() {
			t.Error("it has not overslept a certificate that has expired")
		}
	}
	select {
	case <-jumpsAsks:
	case <-time.After(20 * time.Second):
		t.Fatal("it has not asked within 20 s")
	}
	if jumps.overslept() {
		t.Error("it is awake, and has overslept")
	}
	if len(staysAsks) != 0 || len(nothingAsks) != 0 {
		t.Errorf("asked have %d whose certificate is good, and %d who want none", len(staysAsks), len(nothingAsks))
	}
}
