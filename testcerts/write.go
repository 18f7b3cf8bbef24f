package testcerts

import "fauxlet/internal/atomicfile"

// Write writes the pair into two files, and replaces existing files. Each file is replaced atomically. At every moment,
// only its owner can read the key file. All users can read the certificate. To keep existing files, use a [Folder].
func (p *Pair) Write(certFile, keyFile string) error {
	cert, err := atomicfile.Stage(certFile, p.CertPEM, 0o644)
	if err != nil {
		return err
	}
	defer cert.Discard()
	key, err := atomicfile.Stage(keyFile, p.KeyPEM, 0o600)
	if err != nil {
		return err
	}
	defer key.Discard()
	// Commit the key first, so that a program that waits for the certificate file then finds both files.
	if err := key.Commit(); err != nil {
		return err
	}
	return cert.Commit()
}

// Write writes the CA's key into keyFile. It writes the CA's certificate into certFile, followed by the certificates of
// the CAs above the CA. It treats the files as [Pair.Write] does.
func (a *Authority) Write(certFile, keyFile string) error {
	p, err := newPair(a.Cert, a.Key, a.above)
	if err != nil {
		return err
	}
	return p.Write(certFile, keyFile)
}
