package bootstrap

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate"

	"fauxlet/internal/atomicfile"
)

// store is the file store of the certificate library, with a log line for each stored certificate.
type store struct {
	certificate.FileStore
	logger *zap.Logger
	// The field "expires" is the expiry of the current certificate, in nanoseconds since 1970. While the certificate
	// library is awake and requests a certificate, the field is 0.
	expires atomic.Int64
}

// newStore opens the store of client or serving certificates. The kind is "client" or "server".
func newStore(logger *zap.Logger, nodeName, kind, dir, certFile, keyFile string) (*store, error) {
	files, err := certificate.NewFileStoreWithLogger(libraryLogger(nodeName).V(2), "kubelet-"+kind, dir, dir, certFile,
		keyFile)
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w", dir, err)
	}
	logger = logger.With(zap.String("node", nodeName), zap.String("certificate", kind))
	return &store{FileStore: files, logger: logger}, nil
}

// currentFile returns the path of the symbolic link to the current certificate and key.
func currentFile(dir, kind string) string { return filepath.Join(dir, "kubelet-"+kind+"-current.pem") }

// valid reports whether the store contains a certificate that has not expired.
func (s *store) valid() bool {
	current, err := s.Current()
	return err == nil && time.Now().Before(current.Leaf.NotAfter)
}

// Update stores an issued certificate and key in a new file, and makes the file the current one. The names of the file
// and of the link to it are the library's. The library's own Update would follow a symbolic link in place of the file.
func (s *store) Update(cert, key []byte) (*tls.Certificate, error) {
	pair, file, err := s.write(cert, key)
	if err != nil {
		s.logger.Error("cannot store the issued certificate; it is requested again until it can be stored",
			zap.Error(err))
		return nil, err
	}
	s.expires.Store(pair.Leaf.NotAfter.UnixNano())
	s.logger.Info("certificate issued", zap.String("file", file), zap.Time("expires", pair.Leaf.NotAfter))
	return pair, nil
}

// maxCertificate is a limit for an issued certificate with its intermediate CAs, in bytes of PEM. Go servers refuse
// chains with more than as many bytes of DER. The node could not authenticate with such a chain, nor request another
// certificate. (crypto/tls, maxHandshakeCertificateMsg)
const maxCertificate = 256 << 10

// The method "write" writes the certificate and the key into a new file, and makes the current link point to it. It
// returns the pair and the path of the file.
func (s *store) write(cert, key []byte) (_ *tls.Certificate, file string, err error) {
	if len(cert) > maxCertificate {
		return nil, "", fmt.Errorf("the certificate and its intermediate CAs have %d bytes; TLS allows at most %d",
			len(cert), maxCertificate)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, "", fmt.Errorf("invalid certificate or key: %w", err)
	}
	if !time.Now().Before(pair.Leaf.NotAfter) {
		return nil, "", fmt.Errorf("the certificate expired at %s, before it was stored; compare this machine's clock "+
			"with the signer's", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	certificates, err := certutil.ParseCertsPEM(cert)
	if err != nil {
		return nil, "", fmt.Errorf("invalid certificate: %w", err)
	}
	content, err := certutil.EncodeCertificates(certificates...) // without text around the certificates
	if err != nil {
		return nil, "", err
	}
	// The link has an absolute target. In a relative one, the path would begin at the folder of the link.
	current, err := filepath.Abs(s.CurrentPath())
	if err != nil {
		return nil, "", err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(current)); err != nil {
		return nil, "", err
	}
	file = strings.TrimSuffix(current, "current.pem") + time.Now().Format("2006-01-02-15-04-05") + ".pem"
	if err := atomicfile.Write(file, append(content, key...), 0o600); err != nil {
		return nil, "", err
	}
	return &pair, file, atomicfile.Symlink(file, current)
}
