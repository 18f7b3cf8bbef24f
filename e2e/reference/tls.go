//go:build !before136

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/kubelet/server"
)

type servingTLS = *tls.Config

// newTLSConfig returns the TLS configuration of the secure port, and watches the certificate files until ctx ends.
// (kubelet: pkg/kubelet/kubelet.go, NewMainKubelet and initializeModules)
func newTLSConfig(ctx context.Context, o *settings, auth server.AuthInterface) (servingTLS, error) {
	chosen, err := initializeTLS(ctx, o)
	if err != nil {
		return nil, err
	}
	if chosen.CertFile == "" || chosen.KeyFile == "" {
		return nil, errors.New("serverTLSBootstrap: program reference does not request a serving certificate; " +
			"set tlsCertFile and tlsPrivateKeyFile")
	}
	config := &tls.Config{MinVersion: chosen.MinVersion, CipherSuites: chosen.CipherSuites,
		CurvePreferences: chosen.CurvePreferences}

	var current func() *tls.Certificate
	if reloadsServingCertificate() {
		manager, err := newServingCertificates(chosen.CertFile, chosen.KeyFile)
		if err != nil {
			return nil, err
		}
		manager.Start()
		current = manager.Current
	} else {
		pair, err := tls.LoadX509KeyPair(chosen.CertFile, chosen.KeyFile)
		if err != nil {
			return nil, err
		}
		current = func() *tls.Certificate { return &pair }
	}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair := current(); pair != nil {
			return pair, nil
		}
		return nil, errors.New("no serving certificate available for the kubelet")
	}
	if chosen.ClientCAFile == "" {
		return config, nil
	}

	config.ClientAuth = tls.RequestClientCert
	if !utilfeature.DefaultFeatureGate.Enabled(features.ReloadKubeletClientCAFile) {
		config.ClientCAs, err = certutil.NewPool(chosen.ClientCAFile)
		return config, err
	}
	manager := dynamiccertificates.NewDynamicServingCertificateController(config.Clone(), auth, nil, nil, nil)
	if err := manager.RunOnce(); err != nil {
		return nil, fmt.Errorf("client CA file %s: %w", chosen.ClientCAFile, err)
	}
	config.GetConfigForClient = manager.GetConfigForClient
	go manager.Run(1, ctx.Done())
	return config, nil
}
