//go:build before136

package main

import (
	"context"
	"crypto/tls"
	"errors"

	"k8s.io/kubernetes/pkg/kubelet/server"
)

type servingTLS = *server.TLSOptions

// newTLSConfig returns the TLS configuration of the secure port, and watches the certificate files.
// (kubelet: pkg/kubelet/kubelet.go, NewMainKubelet)
func newTLSConfig(ctx context.Context, o *settings, _ server.AuthInterface) (servingTLS, error) {
	chosen, err := initializeTLS(ctx, o)
	if err != nil {
		return nil, err
	}
	if chosen.CertFile == "" || chosen.KeyFile == "" {
		return nil, errors.New("serverTLSBootstrap: program reference does not request a serving certificate; " +
			"set tlsCertFile and tlsPrivateKeyFile")
	}
	if !reloadsServingCertificate() {
		return chosen, nil // ListenAndServeKubeletServer reads the files
	}
	manager, err := newServingCertificates(chosen.CertFile, chosen.KeyFile)
	if err != nil {
		return nil, err
	}
	manager.Start()
	chosen.Config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair := manager.Current(); pair != nil {
			return pair, nil
		}
		return nil, errors.New("no serving certificate available for the kubelet")
	}
	return chosen, nil
}
