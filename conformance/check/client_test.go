package check

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"fauxlet/conformance"
	"fauxlet/testcerts"
)

// TestValidityAndUsage tests the results for certificates with various dates and usages.
func TestValidityAndUsage(t *testing.T) {
	ca, err := testcerts.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, test := range []struct {
		name   string
		judge  func(*finding, *x509.Certificate) error
		mutate testcerts.Mutate
		want   conformance.Verdict
		why    string
	}{
		{"of a year", checkDates, testcerts.ValidFor(now.Add(-time.Hour), now.Add(365*24*time.Hour)),
			conformance.Pass, ""},
		{"of 31 days", checkDates, testcerts.ValidFor(now.Add(-time.Hour), now.Add(31*24*time.Hour)),
			conformance.Pass, ""},
		{"of 29 days", checkDates, testcerts.ValidFor(now.Add(-time.Hour), now.Add(29*24*time.Hour+time.Hour)),
			conformance.Warn, "expires in 29 days"},
		{"expired", checkDates, testcerts.Expired, conformance.Fail, "has expired"},
		{"of tomorrow", checkDates, testcerts.NotYetValid, conformance.Fail, "is not valid yet"},
		{"for clients", checkUsage, testcerts.ClientAuthOnly, conformance.Pass, ""},
		{"for all", checkUsage, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
			conformance.Pass, ""},
		{"for nothing special", checkUsage, testcerts.NoUsage, conformance.Pass, ""},
		{"for servers", checkUsage, testcerts.ServerAuthOnly, conformance.Fail, "not for client authentication"},
		{"for mail", checkUsage, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}, conformance.Fail, "not for client authentication"},
	} {
		pair, err := ca.Client("kubelet-client", nil, test.mutate)
		if err != nil {
			t.Fatal(err)
		}
		f := &finding{remedy: "remedy"}
		got := f.result(test.judge(f, pair.Leaf))
		if got.Verdict != test.want || !strings.Contains(got.Reason, test.why) ||
			(got.Reason == "") != (test.why == "") {
			t.Errorf("%s: the result is %+v, want the verdict %s and the reason %q", test.name, got, test.want,
				test.why)
		}
		if (got.Verdict != conformance.Pass) != (got.Remedy == "remedy") || len(got.Evidence) == 0 {
			t.Errorf("%s: the result has the wrong remedy or no evidence: %+v", test.name, got)
		}
	}
}

func TestDialedURL(t *testing.T) {
	at := dialedURL(
		`Get "https://internalip..fauxlet-check.invalid:10250/containerLogs/a/b/c?follow=true": dial tcp: ` +
			`lookup internalip..fauxlet-check.invalid: no such host`,
	)
	if at == nil || at.Hostname() != unresolvable("InternalIP") || at.Port() != "10250" {
		t.Errorf("dialedURL returned %v, want the URL in the error", at)
	}
	if at := dialedURL("no preferred addresses found; known addresses: [{InternalDNS x}]"); at != nil {
		t.Errorf("dialedURL returned %v, want nil for an error without a URL", at)
	}
}
