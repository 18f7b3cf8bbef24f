package testcerts

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is a PKI of files: CAs and pairs, each as NAME.crt and NAME.key. What is there is used and never written over;
// what is not is minted. Any number of processes may use one folder at a time: they get the same pairs. (Where the
// system has no flock this holds for one process alone.)
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

// Authority gives the CA of that name: the one that is there, or else a new one, written. A new one is refused if the
// folder has certificates of a CA with that common name, because they would stop to be of any use.
func (f *Folder) Authority(name, commonName string) (*Authority, error) {
	certFile, keyFile := f.Files(name)
	return obtain(f, name, LoadAuthority, func() (*Authority, error) {
		a, err := NewAuthority(commonName)
		if err != nil {
			return nil, err
		}
		orphan, err := f.issuedBy(a.Cert)
		if err != nil {
			return nil, err
		}
		if orphan != "" {
			return nil, fmt.Errorf("%s and %s are not there, and %s is of a CA %q already; put them back, or remove all that it signed",
				certFile, keyFile, orphan, commonName)
		}
		return a, nil
	})
}

// Pair gives the pair of that name: the one that is there, or else what mint makes, written. The folder is locked while
// mint runs, which must not ask it for anything.
func (f *Folder) Pair(name string, mint func() (*Pair, error)) (*Pair, error) {
	return obtain(f, name, LoadPair, mint)
}

// obtain loads what is there, or else mints and writes it. The folder is locked for the latter alone, so that one that
// cannot be written to can be used.
func obtain[T interface {
	Write(certFile, keyFile string) error
}](
	f *Folder, name string, load func(certFile, keyFile string) (T, error), mint func() (T, error),
) (T, error) {
	var none T
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return none, fmt.Errorf("%q: not a name for files in %s; give one without slashes", name, f.dir)
	}
	certFile, keyFile := f.Files(name)
	if there, err := has(certFile, keyFile); err == nil && there {
		return load(certFile, keyFile)
	}
	unlock, err := lock(f.dir)
	if err != nil {
		return none, fmt.Errorf("lock %s: %w", f.dir, err)
	}
	defer unlock()
	// Somebody else may have written it, or half of it, meanwhile.
	there, err := has(certFile, keyFile)
	if err != nil {
		return none, err
	}
	if there {
		return load(certFile, keyFile)
	}
	minted, err := mint()
	if err != nil {
		return none, err
	}
	if err := minted.Write(certFile, keyFile); err != nil {
		// Neither was there. A key that was written before the certificate failed must not stay alone.
		if removed := os.Remove(keyFile); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		return none, err
	}
	return minted, nil
}

// has says whether both files are there, be they links to nowhere. One without the other is an error: it is not ours to
// write over either.
func has(certFile, keyFile string) (bool, error) {
	_, certErr := os.Lstat(certFile)
	_, keyErr := os.Lstat(keyFile)
	for _, err := range []error{certErr, keyErr} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	there, missing := certFile, keyFile
	switch {
	case certErr == nil && keyErr == nil:
		return true, nil
	case certErr != nil && keyErr != nil:
		return false, nil
	case keyErr == nil:
		there, missing = keyFile, certFile
	}
	return false, fmt.Errorf("%s is there and %s is not; put it back, or remove the first to have both made anew", there, missing)
}

// issuedBy finds a certificate in the folder whose issuer has the name of ca. A file that is no certificate is passed
// over: it says what is wrong when it is asked for.
func (f *Folder) issuedBy(ca *x509.Certificate) (file string, err error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".crt" {
			continue
		}
		file := filepath.Join(f.dir, entry.Name())
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		block, _ := pem.Decode(data)
		if block == nil {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && bytes.Equal(cert.RawIssuer, ca.RawSubject) {
			return file, nil
		}
	}
	return "", nil
}
