package testcerts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes the pair into two files, each whole or not at all, over those that are there. The key is readable by its
// owner alone from its first byte on; the certificate by all. To write only what is not there, see [Folder].
func (p *Pair) Write(certFile, keyFile string) error {
	cert, err := stage(certFile, p.CertPEM, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(cert) // it is not there any more, if all went well
	key, err := stage(keyFile, p.KeyPEM, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(key)
	// The key goes first, so that whoever sees the certificate can use it.
	if err := os.Rename(key, keyFile); err != nil {
		return err
	}
	return os.Rename(cert, certFile)
}

// Write writes the CA's certificate, followed by those above it, and its key as [Pair.Write] does.
func (a *Authority) Write(certFile, keyFile string) error {
	p, err := newPair(a.Cert, a.Key, a.above)
	if err != nil {
		return err
	}
	return p.Write(certFile, keyFile)
}

// stage writes data into a new file beside path, from where it can be renamed, and returns its name.
func stage(path string, data []byte, mode os.FileMode) (_ string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(data)
	if err == nil && mode != 0o600 {
		err = file.Chmod(mode)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}
