package testcerts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes the pair into two files, each whole or not at all. The key is readable by its owner alone from its first
// byte on. It is written first, so that a certificate never stands without its key.
func (p *Pair) Write(certFile, keyFile string) error {
	if err := writeFile(keyFile, p.KeyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(certFile, p.CertPEM, 0o644)
}

// Write writes the CA's certificate and key as [Pair.Write] does.
func (a *Authority) Write(certFile, keyFile string) error {
	key, err := marshalKey(a.Key)
	if err != nil {
		return err
	}
	return (&Pair{CertPEM: a.CertPEM(), KeyPEM: key}).Write(certFile, keyFile)
}

func writeFile(path string, data []byte, mode os.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(data)
	if err == nil && mode != 0o600 {
		err = file.Chmod(mode)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
