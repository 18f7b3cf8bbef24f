package bootstrap_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"fauxlet/testcerts"
)

// TestUnusableCertificates answers a request with a certificate that the node could not use. The node must not store
// it, and must request another one.
func TestUnusableCertificates(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(testing.TB, *api, *certificatesv1.CertificateSigningRequest) []byte
		logged string
	}{
		"expired": {func(t testing.TB, a *api, r *certificatesv1.CertificateSigningRequest) []byte {
			return a.sign(t, r, testcerts.Expired)
		}, "the certificate expired at 19"},
		"huge": {func(t testing.TB, a *api, r *certificatesv1.CertificateSigningRequest) []byte {
			return bytes.Repeat(a.sign(t, r, func(*x509.Certificate) {}), 1000)
		}, "TLS allows at most 262144"},
		"for another key": {func(t testing.TB, a *api, _ *certificatesv1.CertificateSigningRequest) []byte {
			pair, err := a.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			return append(pair.CertPEM, pair.KeyPEM...)
		}, "private key does not match public key"},
		"not a certificate": {func(testing.TB, *api, *certificatesv1.CertificateSigningRequest) []byte {
			return []byte("nothing")
		}, "failed to find any PEM data"},
		"malformed": {func(testing.TB, *api, *certificatesv1.CertificateSigningRequest) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nothing")})
		}, "malformed certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t, true)
				done := w.connect()
				first := w.nth(t, 0)
				certificate := test.answer(t, w.api, first)
				w.change(first.Name, condition(certificatesv1.CertificateApproved, "Hostile"))
				w.change(first.Name, func(r *certificatesv1.CertificateSigningRequest) {
					r.Status.Certificate = certificate
				})
				w.logs(t, "cannot store the issued certificate", test.logged)
				w.hasFiles(t)
				w.issue(t, w.nth(t, 1))
				if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" {
					t.Errorf("authenticated as %q", got)
				}
			})
		})
	}
}

// sign returns a certificate for a request, changed by the given function.
func (a *api) sign(t testing.TB, request *certificatesv1.CertificateSigningRequest,
	with testcerts.Mutate) []byte {
	t.Helper()
	content := parse(t, request)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: content.Subject,
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(a.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	with(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca.Cert, content.PublicKey, a.ca.Key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestRepeatedTokenIsNotLogged lets the apiserver repeat the bootstrap token in errors, and in the conditions of a
// request. The token must appear neither in the error nor in the log. (The fixture checks the log.)
func TestRepeatedTokenIsNotLogged(t *testing.T) {
	for name, text := range map[string]string{
		"unchanged":  "Bearer " + token,
		"upper case": strings.ToUpper(token),
		"in base64":  base64.StdEncoding.EncodeToString([]byte("Bearer " + token)),
	} {
		forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "certificatesigningrequests"}, "",
			errors.New(text))
		for _, where := range []string{"an error", "a condition"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				w := newFixture(t, false)
				if where == "an error" {
					w.refuse = forbidden
				}
				done := w.connect()
				if where == "a condition" {
					w.change(w.nth(t, 0).Name, func(r *certificatesv1.CertificateSigningRequest) {
						condition(certificatesv1.CertificateDenied, text)(r)
						r.Status.Conditions[0].Message = text
					})
				}
				err := (<-done).err
				wantsError(t, err, "(removed, because it repeats the token)")
				if strings.Contains(err.Error(), text) {
					t.Errorf("the error contains the token: %v", err)
				}
				for _, line := range w.log.All() {
					for _, value := range anyValues(line.ContextMap()) {
						if s, ok := value.(string); ok && strings.Contains(s, text) {
							t.Errorf("the log contains the token: %s", s)
						}
					}
				}
			})
		}
	}
}
