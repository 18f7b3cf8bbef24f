package authchain

import (
	stdx509 "crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

// TestUserWithChain checks that a cached user is valid exactly while all certificates of the chain are valid.
func TestUserWithChain(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	leaf := &stdx509.Certificate{Subject: pkix.Name{CommonName: "u"}, NotBefore: at(-5), NotAfter: at(5)}
	for _, c := range []struct {
		name        string
		root        *stdx509.Certificate
		holds, gone []time.Time
	}{
		{"root-lives-longer", &stdx509.Certificate{NotBefore: at(-9), NotAfter: at(9)},
			[]time.Time{at(-5), at(0), at(5)}, []time.Time{at(-6), at(6)}},
		{"root-ends-first", &stdx509.Certificate{NotBefore: at(-9), NotAfter: at(2)}, []time.Time{at(-5), at(2)},
			[]time.Time{at(3), at(5)}},
		{"root-begins-later", &stdx509.Certificate{NotBefore: at(-2), NotAfter: at(9)}, []time.Time{at(-2), at(5)},
			[]time.Time{at(-3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			response, ok, err := userOfChain([]*stdx509.Certificate{leaf, c.root}, Legacy{})
			if !ok || err != nil || response.User.GetName() != "u" {
				t.Fatal(response, ok, err)
			}
			user := response.User.(*userWithChain)
			for _, when := range c.holds {
				if !user.chain.validAt(when) {
					t.Errorf("the user is not valid at %v", when)
				}
			}
			for _, when := range c.gone {
				if user.chain.validAt(when) {
					t.Errorf("the user is still valid at %v, outside the validity of a certificate", when)
				}
			}
			if first, last := c.holds[0], c.holds[len(c.holds)-1]; user.chain.validAt(first.Add(-1)) ||
				user.chain.validAt(last.Add(1)) {
				t.Error("the user is still valid just after a certificate has expired")
			}
		})
	}
}
