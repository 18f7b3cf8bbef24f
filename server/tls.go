package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	certutil "k8s.io/client-go/util/cert"
	cliflag "k8s.io/component-base/cli/flag"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/pemfile"
)

// secureTLS has the TLS settings of the secure port.
type secureTLS struct {
	config *tls.Config
	// The functions in "follow" run as long as the port is served. They reload the serving certificate and the client
	// CA when their files change.
	follow []func(context.Context)
}

// newTLS returns the TLS settings of the secure port. It reads or makes the serving certificate. (kubelet:
// cmd/kubelet/app InitializeTLS, pkg/kubelet NewMainKubelet)
func (s *Server) newTLS() (*secureTLS, error) {
	kubelet := &s.config.Kubelet
	minVersion, err := cliflag.TLSVersion(kubelet.TLSMinVersion)
	if err != nil {
		return nil, fmt.Errorf("tlsMinVersion: %w", err)
	}
	cipherSuites, err := cliflag.TLSCipherSuites(kubelet.TLSCipherSuites)
	if err != nil {
		return nil, fmt.Errorf("tlsCipherSuites: %w", err)
	}
	curves, err := cliflag.TLSCurvePreferences(kubelet.TLSCurvePreferences)
	if err != nil {
		return nil, fmt.Errorf("tlsCurvePreferences: %w", err)
	}
	secure := &secureTLS{}
	serving, err := s.sharedCertificate()
	if serving == nil && err == nil {
		serving, err = s.servingCertificate(secure)
	}
	if err != nil {
		return nil, err
	}
	s.tls.serving = serving

	secure.config = &tls.Config{
		MinVersion: minVersion, CipherSuites: cipherSuites, CurvePreferences: curves,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if certificate := serving(); certificate != nil {
				return certificate, nil
			}
			return nil, errors.New("no serving certificate available for the kubelet")
		},
	}
	if s.clientCA == nil {
		// Without a CA, client certificates could not be verified, so a kubelet does not request them.
		return secure, nil
	}
	if s.options.Like != nil {
		s.shareHints(secure.config)
		return secure, nil
	}

	// The server requests a client certificate but does not verify it, because the [authchain.Chain] verifies it later.
	// The list of acceptable CAs is only a hint to the client.
	secure.config.ClientAuth = tls.RequestClientCert
	if watched, ok := s.clientCA.(*dynamiccertificates.DynamicFileCAContent); ok {
		file := kubelet.Authentication.X509.ClientCAFile
		secure.follow = append(secure.follow, func(ctx context.Context) { s.followFiles(ctx, watched, file) })
	}
	if s.options.ReadOnce || !s.config.Enabled("ReloadKubeletClientCAFile") {
		options, _ := s.clientCA.VerifyOptions()
		secure.config.ClientCAs = options.Roots
		return secure, nil
	}
	hints := dynamiccertificates.NewDynamicServingCertificateController(secure.config.Clone(), s.clientCA, nil, nil,
		nil)
	s.tls.hints = hints
	if err := hints.RunOnce(); err != nil {
		return nil, fmt.Errorf("authentication.x509.clientCAFile: %w", err)
	}
	secure.config.GetConfigForClient = hints.GetConfigForClient
	secure.follow = append(secure.follow, func(ctx context.Context) { hints.Run(1, ctx.Done()) })
	return secure, nil
}

func (s *Server) loadClientCA(file string) (ca dynamiccertificates.CAContentProvider, err error) {
	const name = "client-ca-bundle"
	if s.options.ReadOnce {
		var bundle []byte
		if bundle, err = os.ReadFile(file); err == nil {
			ca, err = dynamiccertificates.NewStaticCAContent(name, bundle)
		}
	} else {
		ca, err = dynamiccertificates.NewDynamicCAContentFromFile(name, file)
	}
	if err != nil {
		err = fmt.Errorf("authentication.x509.clientCAFile (--client-ca-file) %q: %w; it must be a PEM file "+
			"with the certificates of the CAs that sign client certificates", file, err)
		return nil, pemfile.ExplainCertificate(err, pemfile.File(file))
	}
	if skipped := pemfile.Unread(pemfile.File(file)); skipped != "" {
		s.logger.Warn("authentication.x509.clientCAFile: a kubelet skips a part of the file",
			zap.String("reason", skipped))
	}
	return ca, nil
}

// servingCertificate returns a function that returns the current serving certificate: the certificate that the cluster
// has issued, or the certificate in the configured files, or a self-signed certificate in --cert-dir. If --cert-dir has
// none, servingCertificate makes it.
func (s *Server) servingCertificate(secure *secureTLS) (func() *tls.Certificate, error) {
	certFile, keyFile, selfSigned := s.config.ServingFiles()
	switch {
	case s.config.Kubelet.ServerTLSBootstrap && s.config.Enabled("RotateKubeletServerCertificate"):
		if s.options.ServingCertificate == nil {
			s.logger.Warn("serverTLSBootstrap is true, but nothing requests a serving certificate: all TLS " +
				"handshakes will fail, as with a kubelet whose request has not been approved")
			return func() *tls.Certificate { return nil }, nil
		}
		return s.options.ServingCertificate, nil
	case certFile == "" || keyFile == "":
		return nil, fmt.Errorf("tlsCertFile is %q and tlsPrivateKeyFile is %q: set both, or leave both empty for a "+
			"self-signed pair in --cert-dir", certFile, keyFile)
	case selfSigned:
		if err := s.selfSign(certFile, keyFile); err != nil {
			return nil, err
		}
	}

	what, remedy := fmt.Sprintf("tlsCertFile %q, tlsPrivateKeyFile %q", certFile, keyFile),
		"they must be PEM files with a certificate and its key; leave both empty for a self-signed pair"
	if selfSigned {
		what, remedy = fmt.Sprintf("--cert-dir: %q, %q", certFile, keyFile), newPair
	}
	explain := func(err error) error {
		err = fmt.Errorf("%s: %w; %s", what, err, remedy)
		if selfSigned {
			return err
		}
		return pemfile.ExplainPair(err, pemfile.File(certFile), pemfile.File(keyFile))
	}
	if s.options.ReadOnce {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, explain(err)
		}
		return func() *tls.Certificate { return &pair }, nil
	}
	current := &servingPair{logger: s.logger}
	var err error
	current.content, err = dynamiccertificates.NewDynamicServingContentFromFiles("kubelet-server-cert-files",
		certFile, keyFile)
	if err == nil {
		err = current.reload()
	}
	if err != nil {
		return nil, explain(err)
	}
	if s.config.Enabled("ReloadKubeletServerCertificateFile") {
		current.content.AddListener(current)
		secure.follow = append(secure.follow,
			func(ctx context.Context) { s.followFiles(ctx, current.content, certFile, keyFile) })
	}
	return current.pair.Load, nil
}

// servingPair is the serving certificate from the last valid state of its files.
type servingPair struct {
	content *dynamiccertificates.DynamicCertKeyPairContent
	pair    atomic.Pointer[tls.Certificate]
	logger  *zap.Logger
}

func (p *servingPair) reload() error {
	pair, err := tls.X509KeyPair(p.content.CurrentCertKeyContent())
	if err == nil {
		p.pair.Store(&pair)
	}
	return err
}

// Enqueue is called when the files have changed. If the files are not a valid pair, Enqueue is not called. The last
// valid pair then stays in use, and followFiles logs a warning.
func (p *servingPair) Enqueue() {
	if err := p.reload(); err != nil {
		p.logger.Error("cannot reload the serving certificate; the current one stays in use", zap.Error(err))
		return
	}
	p.logger.Info("reloaded the serving certificate", zap.String("subject", p.pair.Load().Leaf.Subject.String()))
}

// newPair is the remedy in an error about a self-signed certificate or key that cannot be used.
const newPair = "remove both files, and a new pair will be made"

// selfSign makes a self-signed serving certificate for the node's name, unless the files already contain one. The
// certificate is valid for a year, and its CN is NAME@TIME. Its key is an RSA key, as in a kubelet. (Handshakes with
// the ECDSA keys of `fauxlet certs` are much faster.)
func (s *Server) selfSign(certFile, keyFile string) error {
	readable, err := certutil.CanReadCertAndKey(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("--cert-dir %q: %w; %s", s.config.CertDir, err, newPair)
	}
	if readable {
		return nil
	}
	cert, key, err := certutil.GenerateSelfSignedCertKey(s.config.NodeName, nil, nil)
	if err != nil {
		return fmt.Errorf("unable to generate self signed cert: %w", err)
	}
	// Write the key first: if only the certificate were written, the next start would find it and fail.
	if err = atomicfile.MkdirAll(s.config.CertDir); err == nil {
		err = atomicfile.Write(keyFile, key, 0o600)
	}
	if err == nil {
		err = atomicfile.Write(certFile, cert, 0o644)
	}
	if err != nil {
		return fmt.Errorf("--cert-dir %q: %w; choose a folder that can be written to, or set tlsCertFile and "+
			"tlsPrivateKeyFile", s.config.CertDir, err)
	}
	s.logger.Info("made a self-signed serving certificate", zap.String("certificate", certFile),
		zap.String("key", keyFile))
	return nil
}
