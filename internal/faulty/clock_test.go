package faulty_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// fixedCA is an authchain.CAProvider that always returns the same client CA.
type fixedCA struct{ *testcerts.Authority }

func (f fixedCA) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: f.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

func TestClientCANeedsBothClocks(t *testing.T) {
	authority, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		t.Fatal(err)
	}
	const hour = time.Hour
	for name, test := range map[string]struct {
		skew     string // skew is empty if the clock is right
		from, to time.Duration
		refused  string // refused is a part of the error; it is empty if the certificate is accepted
	}{
		"right clock, valid":   {from: -hour, to: hour},
		"right clock, expired": {from: -2 * hour, to: -hour, refused: "expired or is not yet valid"},
		"ahead, valid by both": {skew: "90m", from: -hour, to: 2 * hour},
		"ahead, valid by the true clock only": {skew: "90m", from: -hour, to: hour,
			refused: "expired or is not yet valid"},
		"ahead, valid by its clock only": {skew: "90m", from: hour, to: 2 * hour,
			refused: "but not by the true clock"},
		"behind, valid by its clock only": {skew: "-50m", from: -hour, to: -hour / 2,
			refused: "but not by the true clock"},
		"ahead, valid at neither": {skew: "90m", from: 2 * hour, to: 3 * hour,
			refused: "expired or is not yet valid"},
	} {
		t.Run(name, func(t *testing.T) {
			n, set := node()
			if test.skew != "" {
				add(t, set, `{"kind": "clock-skew", "skew": "`+test.skew+`"}`)
			}
			validFor := testcerts.ValidFor(time.Now().Add(test.from), time.Now().Add(test.to))
			pair, err := authority.Client("kubelet-client", nil, validFor)
			if err != nil {
				t.Fatal(err)
			}
			ca := n.ClientCA(fixedCA{authority})
			options, ok := ca.VerifyOptions()
			if !ok {
				t.Fatal("the client CA returned no verify options")
			}
			chains, err := pair.TLS().Leaf.Verify(options)
			if err == nil {
				err = ca.(interface {
					VerifyChain([]*x509.Certificate) error
				}).VerifyChain(chains[0])
			}
			if (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
				t.Errorf("error %v, want %q", err, test.refused)
			}
		})
	}
}

func TestClientCAIsUnchangedWithoutFaults(t *testing.T) {
	authority, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		t.Fatal(err)
	}
	n, set := node()
	add(t, set, `{"kind": "clock-skew", "skew": "1h", "node": "node-2"}`)
	if options, _ := n.ClientCA(fixedCA{authority}).VerifyOptions(); !options.CurrentTime.IsZero() ||
		n.ClockSkew() != 0 {
		t.Errorf("another node's fault sets the time %v, skew %v", options.CurrentTime, n.ClockSkew())
	}
	add(t, set, `{"kind": "caches-flushed"}`)
	if options, _ := n.ClientCA(fixedCA{authority}).VerifyOptions(); options.CurrentTime.IsZero() {
		t.Error("caches-flushed does not make the chain verify each certificate anew")
	}
}
