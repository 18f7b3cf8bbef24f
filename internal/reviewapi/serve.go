package reviewapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// grace is how long Serve waits for requests under way when it ends.
const grace = 5 * time.Second

// Serve serves the API over TLS on listener and watches the files, until ctx ends. Then it closes the listener, waits
// for requests under way, and returns nil. A review that a fault delays ends at once. When Serve returns, all its
// goroutines have ended. If serving or watching fails earlier, it returns the error.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.tlsConfig(),
		ReadHeaderTimeout: 30 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          s.options.ErrorLog,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}

	var tasks sync.WaitGroup
	var watchError error
	if len(s.options.RBAC) > 0 || s.options.Tokens != "" {
		tasks.Go(func() {
			if err := s.Watch(ctx); err != nil && !errors.Is(err, errWatched) {
				watchError = err
				cancel() // stop serving: without the watch, changes of the files would be missed
			}
		})
	}
	tasks.Go(func() {
		<-ctx.Done()
		patience, done := context.WithTimeout(context.Background(), grace)
		defer done()
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
	})
	err := server.ServeTLS(listener, "", "")
	cancel()
	tasks.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, watchError)
}

func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{s.certificate},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if s.options.ClientCA != nil {
		// The authenticator verifies the certificate, as in a kube-apiserver. So a client certificate of another CA
		// leads to a response with status 401, not to a failed handshake.
		config.ClientAuth, config.ClientCAs = tls.RequestClientCert, s.options.ClientCA
	}
	return config
}

// newServingCertificate makes a self-signed ECDSA P-256 certificate that is valid for a year.
func newServingCertificate(hosts []string) (tls.Certificate, error) {
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serving certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serving certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("%s@%d", hosts[0], now.Unix())},
		NotBefore:             now.Add(-time.Hour), // the clients' clocks may be slow
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // some TLS clients trust a self-signed certificate only if it is a CA
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" { // as in the address ":6443"
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serving certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
