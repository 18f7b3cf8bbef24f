package controlplane

import (
	"os"
	"path/filepath"
	"sync"

	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// PKI is the one that all control planes and kubelets share: the cluster's CA vouches for everybody, strangerCA is the
// CA that nobody knows.
type PKI struct {
	Dir           string
	CA, UnknownCA *testcerts.Authority
	CAFile        string

	Mu sync.Mutex // of its files
}

var Certificates = sync.OnceValues(func() (*PKI, error) {
	p := &PKI{Dir: filepath.Join(programs.Scratch, "pki")}
	p.CAFile = filepath.Join(p.Dir, "ca.crt")
	var err error
	if p.CA, err = testcerts.NewAuthority("kubernetes"); err != nil {
		return nil, err
	}
	if p.UnknownCA, err = testcerts.NewAuthority("stranger"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(p.Dir, 0o755); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.CAFile, p.CA.CertPEM(), 0o644)
})

// Pair mints a pair and writes it where it can be named on a command line.
func (p *PKI) Pair(name string, mint func() (*testcerts.Pair, error)) (certFile, keyFile string, err error) {
	p.Mu.Lock()
	defer p.Mu.Unlock()
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

func (p *PKI) ClientPair(name string, organizations ...string) func() (*testcerts.Pair, error) {
	return func() (*testcerts.Pair, error) { return p.CA.Client(name, organizations) }
}
