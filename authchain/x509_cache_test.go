package authchain_test

import (
	"crypto/x509"
	"sync/atomic"
	"testing"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

// changingCA is a CAProvider that returns the same pool until the method "trust" sets a new pool.
type changingCA struct{ pool atomic.Pointer[x509.CertPool] }

func (c *changingCA) trust(a *testcerts.Authority) { c.pool.Store(a.Pool()) }

func (c *changingCA) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: c.pool.Load(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

// TestVerifiedCertificateIsCachedForItsRoots checks that the cache of verified certificates never accepts a certificate
// after the root CAs have changed, and never accepts a different certificate.
func TestVerifiedCertificateIsCachedForItsRoots(t *testing.T) {
	p := newPKI(t)
	ca := &changingCA{}
	ca.trust(p.clusterCA)
	s := newStandin(t, newChain(t, authchain.Config{ClientCA: ca, Mode: authchain.AlwaysAllow}), true)
	known := with(client(t, p.clusterCA, "kubelet-client", []string{"operators"}), "")
	untrusted := with(client(t, p.unknownCA, "kubelet-client", nil), "")

	expect := func(step string, c credential, status int) {
		t.Helper()
		got, _, decision := s.send(t, "GET", "/pods", c)
		if got != status {
			t.Fatalf("%s: %d, want %d: %s", step, got, status, decision.Why())
		}
		if status == 200 && (decision.User.GetName() != "kubelet-client" || len(decision.User.GetGroups()) == 0) {
			t.Fatalf("%s: user %+v", step, decision.User)
		}
	}
	for range 3 {
		expect("known", known, 200)
		expect("untrusted", untrusted, 401)
	}
	ca.trust(p.unknownCA)
	for range 2 {
		expect("known, after the CA has changed", known, 401)
		expect("untrusted, after the CA has changed", untrusted, 200)
	}
	ca.trust(p.clusterCA)
	expect("known, after the CA has changed back", known, 200)
	expect("untrusted, after the CA has changed back", untrusted, 401)
}
