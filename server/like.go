package server

import (
	"crypto/tls"
	"errors"
	"sync"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// sharedTLS is what a Server's listener has that those of Servers like it can use.
type sharedTLS struct {
	serving func() *tls.Certificate
	hints   *dynamiccertificates.DynamicServingCertificateController
}

// sharedCertificate is the serving certificate where there is another Server like this one: the same files are read once,
// and a self-signed pair, whose making takes long, is made for the first client. Nil: the Server reads or makes its own.
func (s *Server) sharedCertificate() (func() *tls.Certificate, error) {
	if s.like == nil || s.issued != nil {
		return nil, nil
	}
	certFile, keyFile, selfSigned := s.config.ServingFiles()
	if !selfSigned {
		theirCert, theirKey, _ := s.like.config.ServingFiles()
		if s.like.tls.serving == nil || certFile != theirCert || keyFile != theirKey {
			return nil, errors.New("server: Options.Like listens on nothing, or serves with other files")
		}
		return s.like.tls.serving, nil
	}
	made := sync.OnceValue(func() func() *tls.Certificate {
		serving, err := s.servingCertificate(&secureTLS{})
		if err != nil {
			s.logger.Error("there is no serving certificate: handshakes fail", zap.Error(err))
			return func() *tls.Certificate { return nil }
		}
		return serving
	})
	return func() *tls.Certificate { return made()() }, nil
}

// shareHints has clients asked for certificates as the other Server asks for them, and follows its client CA.
func (s *Server) shareHints(config *tls.Config) error {
	hints := s.like.tls.hints
	config.ClientAuth = tls.RequestClientCert
	if hints == nil {
		options, _ := s.clientCA.VerifyOptions()
		config.ClientCAs = options.Roots
		return nil
	}
	own := config.GetCertificate
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := hints.GetConfigForClient(hello) // which is a copy
		if err != nil {
			return nil, err
		}
		config.GetCertificate = own
		return config, nil
	}
	return nil
}
