package server

import (
	"crypto/tls"
	"sync/atomic"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// servingPair is the serving certificate as its files last were when they made sense.
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

// reloader is told when the files have changed. It is not told of files that do not make a pair: those are logged by
// dynamiccertificates, and the last good pair is kept.
type reloader struct {
	pair   *servingPair
	logger *zap.Logger
}

func (r reloader) Enqueue() {
	if err := r.pair.reload(); err != nil {
		r.logger.Error("the serving certificate could not be read again; the one in use stays", zap.Error(err))
		return
	}
	r.logger.Info("serving with the certificate of the changed file", zap.String("subject", r.pair.get().Leaf.Subject.String()))
}
