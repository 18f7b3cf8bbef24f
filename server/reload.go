package server

import (
	"crypto/tls"
	"sync/atomic"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// servingPair is the serving certificate from the last valid state of its files.
type servingPair struct {
	content *dynamiccertificates.DynamicCertKeyPairContent
	pair    atomic.Pointer[tls.Certificate]
}

func (p *servingPair) get() *tls.Certificate { return p.pair.Load() }

func (p *servingPair) reload() error {
	pair, err := tls.X509KeyPair(p.content.CurrentCertKeyContent())
	if err != nil {
		return err
	}
	p.pair.Store(&pair)
	return nil
}

// reloader reloads a servingPair when its files change. If the files are not a valid pair, dynamiccertificates logs
// an error and does not call the reloader. The last valid pair then stays in use.
type reloader struct {
	pair   *servingPair
	logger *zap.Logger
}

func (r reloader) Enqueue() {
	if err := r.pair.reload(); err != nil {
		r.logger.Error("cannot reload the serving certificate; the current one stays in use", zap.Error(err))
		return
	}
	r.logger.Info("reloaded the serving certificate", zap.String("subject", r.pair.get().Leaf.Subject.String()))
}
