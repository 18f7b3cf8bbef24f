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

// sharedCertificate returns the serving certificate of a Server that has Options.Like. If tlsCertFile and
// tlsPrivateKeyFile are set, both Servers use the certificate that the Server in Options.Like has read. Otherwise each
// Server has its own self-signed certificate. It is made only when the first client connects, because making it takes
// long. If Options.Like is not set, or if the cluster issues the certificate, the result is nil, and the caller must
// call servingCertificate.
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

// shareHints makes the new Server request client certificates. It also makes the new Server send clients the same list
// of acceptable CAs as the Server in Options.Like. While that Server serves, the list follows changes of the client CA
// file.
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
