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

	"fauxlet/internal/atomicfile"
)

// Folder keeps CAs and pairs in files, each as NAME.crt and NAME.key. If the files of a CA or pair exist, the Folder
// uses them and never overwrites them. Otherwise it makes the CA or pair. Several processes may use one folder at the
// same time and get the same pairs. (On a system without flock this holds within one process only.) A Folder is safe
// for concurrent use.
type Folder struct{ dir string }

// OpenFolder opens a folder, and creates it if it does not exist.
func OpenFolder(dir string) (*Folder, error) {
	if err := atomicfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	return &Folder{dir}, nil
}

// Files returns the paths of a certificate and its key, whether or not they exist.
func (f *Folder) Files(name string) (certFile, keyFile string) {
	return filepath.Join(f.dir, name+".crt"), filepath.Join(f.dir, name+".key")
}

// Authority returns the CA in NAME.crt and NAME.key. If the files do not exist, it makes a CA with commonName and
// writes them. It fails if they do not exist but the folder has a certificate that a CA with this commonName has
// signed, because a new CA would invalidate that certificate.
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
			return nil, fmt.Errorf("%s and %s do not exist, but %s is signed by a CA %q; "+
				"restore the CA, or remove all certificates that it signed", certFile, keyFile, orphan, commonName)
		}
		return a, nil
	})
}

// Pair returns the pair in NAME.crt and NAME.key. If the files do not exist, Pair calls "mint" to make the pair, and
// writes the files. The folder is locked during this call, so "mint" must not call methods of the folder.
func (f *Folder) Pair(name string, mint func() (*Pair, error)) (*Pair, error) {
	return obtain(f, name, LoadPair, mint)
}

// The function "obtain" loads a pair or a CA from its files. If the files do not exist, it calls "mint" and writes the
// result. It locks the folder only to write, so a folder that already has all files may be read-only.
func obtain[T interface {
	Write(certFile, keyFile string) error
}](f *Folder, name string, load func(certFile, keyFile string) (T, error), mint func() (T, error)) (T, error) {
	var none T
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return none, fmt.Errorf("%q is not a file name for folder %s; use a name without slashes", name, f.dir)
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
	// Another process may have written one or both files before this process got the lock.
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
		// Remove the key, because its certificate could not be written.
		if removed := os.Remove(keyFile); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		return none, err
	}
	return minted, nil
}

// The function "has" reports whether both files exist. A dangling symbolic link counts as a file. If only one of the
// files exists, the result is an error, because an existing file must not be overwritten.
func has(certFile, keyFile string) (bool, error) {
	var there, missing []string
	for _, file := range []string{certFile, keyFile} {
		switch _, err := os.Lstat(file); {
		case err == nil:
			there = append(there, file)
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, file)
		default:
			return false, err
		}
	}
	if len(there) == 1 {
		return false, fmt.Errorf("%s exists, but %s does not; restore the missing file, or remove the existing file "+
			"to make both again", there[0], missing[0])
	}
	return len(there) == 2, nil
}

// issuedBy returns the path of a certificate in the folder whose issuer has the same name as the given CA, or "" if
// there is none. It skips files that are not certificates. The function that loads such a file reports the error.
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
		data, _ := os.ReadFile(file)
		if block, _ := pem.Decode(data); block != nil {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err == nil && bytes.Equal(cert.RawIssuer, ca.RawSubject) {
				return file, nil
			}
		}
	}
	return "", nil
}
