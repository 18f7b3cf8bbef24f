package server

import (
	"crypto/tls"
	"errors"
	"sync"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// sharedTLS is the part of a Server's TLS settings that other Servers can use through their Options.Like.
type sharedTLS struct {
	serving func() *tls.Certificate
	hints   *dynamiccertificates.DynamicServingCertificateController
}

// sharedCertificate returns the serving certificate of a Server with Options.Like. A certificate from files is the same
// as the certificate of Options.Like. A self-signed certificate is made only when the first client connects, because
// making it takes long. The result is nil if servingCertificate must read or make the certificate.
func (s *Server) sharedCertificate() (func() *tls.Certificate, error) {
	if s.options.Like == nil || s.options.ServingCertificate != nil {
		return nil, nil
	}
	certFile, keyFile, selfSigned := s.config.ServingFiles()
	if !selfSigned {
		theirCert, theirKey, _ := s.options.Like.config.ServingFiles()
		if s.options.Like.tls.serving == nil || certFile != theirCert || keyFile != theirKey {
			return nil, errors.New("server: Options.Like has not called Listen, or has another tlsCertFile or " +
				"tlsPrivateKeyFile; call its Listen first, and configure the same files")
		}
		return s.options.Like.tls.serving, nil
	}
	return sync.OnceValue(func() *tls.Certificate {
		serving, err := s.servingCertificate(&secureTLS{})
		if err != nil {
			s.logger.Error("no serving certificate: TLS handshakes will fail", zap.Error(err))
			return nil
		}
		return serving()
	}), nil
}

// shareHints makes the new Server request client certificates with the list of acceptable CAs of Options.Like. While
// Options.Like serves, the list follows changes of the client CA file.
func (s *Server) shareHints(config *tls.Config) {
	hints := s.options.Like.tls.hints
	config.ClientAuth = tls.RequestClientCert
	if hints == nil {
		options, _ := s.clientCA.VerifyOptions()
		config.ClientCAs = options.Roots
		return
	}
	own := config.GetCertificate
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := hints.GetConfigForClient(hello) // GetConfigForClient returns a copy, so it may be changed
		if err != nil {
			return nil, err
		}
		config.GetCertificate = own
		return config, nil
	}
}
