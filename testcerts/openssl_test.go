package testcerts_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fauxlet/testcerts"
)

// TestOpenSSL checks each kind of certificate with openssl verify, because tutorials recommend that command to
// operators.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test runs openssl verify: %v; install the package openssl", err)
	}
	folder := must(testcerts.OpenFolder(t.TempDir()))(t)
	ca := must(folder.Authority("ca", "ca"))(t)
	caFile, _ := folder.Files("ca")
	for _, k := range testcerts.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			must(folder.Pair(k.Name, func() (*testcerts.Pair, error) { return k.Mint(ca, request(k)) }))(t)
			certFile, _ := folder.Files(k.Name)
			want := verdicts[k.Name]
			args := append([]string{"verify", "-CAfile", caFile}, want.opensslArgs...)
			if want.opensslWithPEM {
				args = append(args, "-untrusted", certFile)
			}
			verify(t, openssl, want.openssl, append(args, certFile)...)
		})
	}

	t.Run("common-name-of-the-ca", func(t *testing.T) {
		must(folder.Pair("namesake", func() (*testcerts.Pair, error) { return ca.Client("ca", nil) }))(t)
		certFile, _ := folder.Files("namesake")
		verify(t, openssl, 0, "verify", "-x509_strict", "-CAfile", caFile, certFile)
	})
	t.Run("intermediate-authority", func(t *testing.T) {
		intermediate := must(ca.Intermediate("intermediate-ca"))(t)
		certFile := filepath.Join(t.TempDir(), "intermediate.crt")
		if err := intermediate.Write(certFile, certFile+".key"); err != nil {
			t.Fatal(err)
		}
		verify(t, openssl, 0, "verify", "-x509_strict", "-CAfile", caFile, certFile)
	})
}

// verify runs openssl verify, and expects the error number in "want"; 0 means success.
func verify(t *testing.T, openssl string, want int, args ...string) {
	t.Helper()
	out, err := exec.Command(openssl, args...).CombinedOutput()
	report := "OK"
	if want != 0 {
		report = fmt.Sprintf("error %d at ", want)
	}
	if (err == nil) != (want == 0) || !strings.Contains(string(out), report) {
		t.Errorf("openssl %s: %v\n%s\nwant %q", strings.Join(args, " "), err, out, report)
	}
}
