package authchain_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"fauxlet/authchain"
)

func TestNewDecisionIsAffectedByItsContext(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequest(http.MethodGet, "/pods", nil)
	ctx := authchain.WithAffectedBy(request.Context(), "one", "two")
	for range 2 { // the two Decisions must not share the list of names
		d, _ := authchain.NewDecision(request.WithContext(ctx))
		d.AddAffectedBy("two", "three")
		if want := []string{"one", "two", "three"}; !slices.Equal(d.AffectedBy, want) {
			t.Errorf("affected by %q, want %q", d.AffectedBy, want)
		}
	}
}

func TestAddAffectedByReachesTheDecisionOfTheContext(t *testing.T) {
	t.Parallel()
	d, request := authchain.NewDecision(httptest.NewRequest(http.MethodGet, "/pods", nil))
	authchain.AddAffectedBy(request.Context(), "one")
	authchain.AddAffectedBy(t.Context(), "two") // has no effect: the context belongs to no request
	if want := []string{"one"}; !slices.Equal(d.AffectedBy, want) {
		t.Errorf("affected by %q, want %q", d.AffectedBy, want)
	}
}

// refusing is a CAProvider whose VerifyChain refuses every certificate chain.
type refusing struct{ authchain.CAProvider }

func (refusing) VerifyChain(chain []*x509.Certificate) error {
	return errors.New("refused the certificate chain that ends with " + chain[len(chain)-1].Subject.CommonName)
}

func TestVerifyChainRefusesACertificateThatVerifies(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	config := authchain.Config{NodeName: "node-1", ClientCA: refusing{fixedCA{p.clusterCA}},
		Mode: authchain.AlwaysAllow, Anonymous: true}
	s := newStandin(t, newChain(t, config), true)
	status, _, d := s.send(t, http.MethodGet, "/pods", with(client(t, p.clusterCA, "kubelet-client", nil), ""))
	step := d.Authentication[0]
	if status != http.StatusUnauthorized || d.User != nil || step.Outcome != authchain.OutcomeRefused {
		t.Errorf("status %d, user %v, step %+v; want 401 and a refused step", status, d.User, step)
	}
	if want := "refused the certificate chain that ends with cluster-ca"; !strings.Contains(step.Reason, want) {
		t.Errorf("reason %q, want %q in it", step.Reason, want)
	}
}
