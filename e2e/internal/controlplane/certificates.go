package controlplane

import (
	"os"
	"path/filepath"
	"sync"

	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// PKI has two certificate authorities: CA, which all control planes and kubelets of a test binary use, and
// UnknownCA, which none of them trusts.
type PKI struct {
	Dir               string // folder of the certificates and keys; flags name these files relative to Dir
	CA, UnknownCA     *testcerts.Authority
	CAFile, CAKeyFile string // files of CA's certificate and key
	UnknownCAFile     string // file of UnknownCA's certificate: unknown-ca.crt in Dir

	mu sync.Mutex // mu guards the files that Pair writes
}

// Certificates returns the PKI of this test binary. The first call creates it.
var Certificates = sync.OnceValues(func() (*PKI, error) {
	dir := filepath.Join(programs.Scratch, "pki")
	p := &PKI{
		Dir:           dir,
		CAFile:        filepath.Join(dir, "ca.crt"),
		CAKeyFile:     filepath.Join(dir, "ca.key"),
		UnknownCAFile: filepath.Join(dir, "unknown-ca.crt"),
	}
	var err error
	if p.CA, err = testcerts.NewAuthority("kubernetes"); err != nil {
		return nil, err
	}
	if p.UnknownCA, err = testcerts.NewAuthority("unknown-ca"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(p.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := p.CA.Write(p.CAFile, p.CAKeyFile); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.UnknownCAFile, p.UnknownCA.CertPEM(), 0o644)
})

// Pair returns the paths of a certificate and its key in Dir. If the files do not exist, Pair calls the function
// "mint", and writes the certificate and key that the function returns.
func (p *PKI) Pair(name string, mint func() (*testcerts.Pair, error)) (certFile, keyFile string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	certFile, keyFile = filepath.Join(p.Dir, name+".crt"), filepath.Join(p.Dir, name+".key")
	if _, err := os.Stat(certFile); err == nil {
		return certFile, keyFile, nil
	}
	pair, err := mint()
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, pair.Write(certFile, keyFile)
}

// ClientPair returns a function for Pair that issues a client certificate signed by CA.
func (p *PKI) ClientPair(name string, organizations ...string) func() (*testcerts.Pair, error) {
	return func() (*testcerts.Pair, error) { return p.CA.Client(name, organizations) }
}
