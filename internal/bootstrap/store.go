package bootstrap

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/certificate"
)

// store is the library's, which says what it does with files.
type store struct {
	certificate.FileStore
	logger *zap.Logger
}

// newStore opens that of a "client" or a "server".
func newStore(logger *zap.Logger, nodeName, kind, dir, certFile, keyFile string) (*store, error) {
	files, err := certificate.NewFileStoreWithLogger(libraryLogger(nodeName).V(2), "kubelet-"+kind, dir, dir, certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w", dir, err)
	}
	return &store{files, logger.With(zap.String("node", nodeName), zap.String("certificate", kind))}, nil
}

// currentFile is the link to the pair that is used.
func currentFile(dir, kind string) string { return filepath.Join(dir, "kubelet-"+kind+"-current.pem") }

// good says whether there is a pair, and it has not expired.
func (s *store) good() bool {
	current, err := s.Current()
	return err == nil && time.Now().Before(current.Leaf.NotAfter)
}

// Update keeps a pair that was issued, in a file of its own, and has the link point to it.
func (s *store) Update(cert, key []byte) (*tls.Certificate, error) {
	pair, err := s.FileStore.Update(cert, key)
	if err != nil {
		s.logger.Error("a certificate was issued and cannot be kept; it is asked for again until that can be done", zap.Error(err))
		return nil, err
	}
	file, err := filepath.EvalSymlinks(s.CurrentPath())
	if err != nil {
		file = s.CurrentPath()
	}
	s.logger.Info("a certificate was issued", zap.String("file", file), zap.Time("good until", pair.Leaf.NotAfter))
	return pair, nil
}
