package testcerts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Folder is a PKI of files: CAs and pairs, each as NAME.crt and NAME.key.
type Folder struct{ dir string }

// OpenFolder makes the folder, if it is not there.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &Folder{dir}, nil
}

// Files are where a certificate and its key are, or would be.
func (f *Folder) Files(name string) (certFile, keyFile string) {
	return filepath.Join(f.dir, name+".crt"), filepath.Join(f.dir, name+".key")
}

// Authority gives the CA of that name: the one that is there, or else a new one, written.
func (f *Folder) Authority(name, commonName string) (*Authority, error) {
	certFile, keyFile := f.Files(name)
	there, err := f.has(name)
	if err != nil {
		return nil, err
	}
	if there {
		return LoadAuthority(certFile, keyFile)
	}
	a, err := NewAuthority(commonName)
	if err != nil {
		return nil, err
	}
	return a, a.Write(certFile, keyFile)
}

// Pair gives the pair of that name: the one that is there, or else what mint makes, written.
func (f *Folder) Pair(name string, mint func() (*Pair, error)) (*Pair, error) {
	certFile, keyFile := f.Files(name)
	there, err := f.has(name)
	if err != nil {
		return nil, err
	}
	if there {
		return LoadPair(certFile, keyFile)
	}
	p, err := mint()
	if err != nil {
		return nil, err
	}
	return p, p.Write(certFile, keyFile)
}

// has says whether both files are there. One without the other is an error: it is not ours to write over either.
func (f *Folder) has(name string) (bool, error) {
	certFile, keyFile := f.Files(name)
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	for _, err := range []error{certErr, keyErr} {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	switch {
	case certErr == nil && keyErr != nil:
		return false, fmt.Errorf("%s is there and %s is not; put it back, or remove the first to have both made anew", certFile, keyFile)
	case certErr != nil && keyErr == nil:
		return false, fmt.Errorf("%s is there and %s is not; put it back, or remove the first to have both made anew", keyFile, certFile)
	}
	return certErr == nil, nil
}
