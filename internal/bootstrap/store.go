package bootstrap

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/certificate"
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

// Update stores an issued certificate and key in a new file, and makes the file the current one.
func (s *store) Update(cert, key []byte) (*tls.Certificate, error) {
	pair, err := s.FileStore.Update(cert, key)
	if err != nil {
		s.logger.Error("cannot store the issued certificate; it is requested again until it can be stored",
			zap.Error(err))
		return nil, err
	}
	s.expires.Store(pair.Leaf.NotAfter.UnixNano())
	file, err := filepath.EvalSymlinks(s.CurrentPath())
	if err != nil {
		file = s.CurrentPath()
	}
	s.logger.Info("certificate issued", zap.String("file", file), zap.Time("expires", pair.Leaf.NotAfter))
	return pair, nil
}
