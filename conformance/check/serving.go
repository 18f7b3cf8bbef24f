package check

import (
	"context"
	"crypto/tls"
	"sync"

	"fauxlet/testcerts"
)

// servingOnce finds the serving certificate with which the apiserver talks to a kubelet.
type servingOnce struct {
	once        sync.Once
	certificate *tls.Certificate
	err         error
}

func (s *servingOnce) get(ctx context.Context, r *run) (*tls.Certificate, error) {
	s.once.Do(func() {
		pair, err := testcerts.SelfSigned("fauxlet-check", []string{r.nodeIP.String()})
		if err != nil {
			s.err = err
			return
		}
		c := pair.TLS()
		s.certificate = &c
	})
	return s.certificate, s.err
}
