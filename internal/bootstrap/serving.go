package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	netutils "k8s.io/utils/net"
)

// ServingOptions configure [NewServing].
type ServingOptions struct {
	// NodeName is the name of the node. Required.
	NodeName string
	// CertDir is the folder of --cert-dir. Required.
	CertDir string
	// CertFile and KeyFile are the fields tlsCertFile and tlsPrivateKeyFile. Their certificate is served until
	// CertDir contains an issued certificate.
	CertFile, KeyFile string
	// Client creates the requests, authenticated as the node. If Client is nil, no certificate is requested, and the
	// certificate in the files is served.
	Client kubernetes.Interface
	// Addresses returns the current addresses of the node. No certificate is requested before they contain an IP
	// address. A new one is requested when they contain an address that the certificate lacks. Addresses is called
	// about once a second, from several goroutines. Required.
	Addresses func() []v1.NodeAddress
	// AllowDNSOnly is the feature gate AllowDNSOnlyNodeCSR: request a certificate even without an IP address.
	AllowDNSOnly bool
	// Logger logs each certificate request and its result. Nil: no log.
	Logger *zap.Logger
}

// Serving is a serving certificate that the cluster issues, and that is renewed before it expires.
type Serving struct {
	manager certificate.Manager
	metrics []prometheus.Collector
}

// NewServing reads an existing certificate from the files. [Serving.Run] requests new ones. (kubelet:
// certificate.NewKubeletServerCertificateManager)
func NewServing(o ServingOptions) (*Serving, error) {
	if o.NodeName == "" || o.Addresses == nil {
		return nil, errors.New("bootstrap: ServingOptions.NodeName and ServingOptions.Addresses are required")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	files, err := newStore(o.Logger, o.NodeName, "server", o.CertDir, o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	if o.Client != nil && !files.valid() {
		if err := mustBeWritable(o.CertDir); err != nil {
			return nil, err
		}
	}
	age, failures := newRotationAge(), newServerFailures()
	config := certificate.Config{
		GetTemplate:             (&template{nodeName: o.NodeName, addresses: o.Addresses, dnsOnly: o.AllowDNSOnly}).get,
		SignerName:              certificatesv1.KubeletServingSignerName,
		GetUsages:               certificate.DefaultKubeletServingGetUsages,
		CertificateStore:        files,
		CertificateRotation:     age,
		CertificateRenewFailure: failures,
	}
	if o.Client != nil {
		client := (&requestLogger{logger: o.Logger, node: o.NodeName, kind: "serving", next: nextAutomatic}).wrap(
			o.Client)
		config.ClientsetFn = func(*tls.Certificate) (kubernetes.Interface, error) { return client, nil }
	}
	rotation, err := newRotation(o.NodeName, config)
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file, and a new certificate is requested", o.CertDir, err)
	}
	return &Serving{rotation, []prometheus.Collector{failures, age, newTTL(serverTTL, rotation.Current)}}, nil
}

// Run requests and renews the certificate until ctx ends. Call it once.
func (s *Serving) Run(ctx context.Context) {
	s.manager.Start()
	<-ctx.Done()
	s.manager.Stop()
}

// Current returns the certificate to serve. It is nil if there is no certificate or if it has expired. The caller
// must then refuse TLS handshakes.
func (s *Serving) Current() *tls.Certificate { return s.manager.Current() }

// template creates the x509 template of the certificate request. The library calls get every second, so get caches
// its result.
type template struct {
	nodeName  string
	addresses func() []v1.NodeAddress
	dnsOnly   bool

	mu      sync.Mutex
	last    []v1.NodeAddress // the addresses of request
	request *x509.CertificateRequest
}

func (t *template) get() *x509.CertificateRequest {
	addresses := t.addresses()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.request != nil && slices.Equal(addresses, t.last) {
		return t.request
	}
	t.last, t.request = slices.Clone(addresses), nil
	names, ips := namesAndIPs(addresses)
	if len(ips) > 0 || t.dnsOnly && len(names) > 0 {
		t.request = &x509.CertificateRequest{Subject: subject(t.nodeName), DNSNames: names, IPAddresses: ips}
	}
	return t.request
}

// namesAndIPs separates addresses into DNS names and IP addresses, without duplicates, sorted. An address of type
// Hostname may be an IP address. An InternalIP or ExternalIP that is not an IP address is dropped. (kubelet:
// certificate.addressesToHostnamesAndIPs)
func namesAndIPs(addresses []v1.NodeAddress) (names []string, ips []net.IP) {
	nameSet, ipSet := map[string]bool{}, map[string]net.IP{}
	for _, address := range addresses {
		ip := netutils.ParseIPSloppy(address.Address)
		switch {
		case address.Address == "":
		case address.Type == v1.NodeInternalDNS, address.Type == v1.NodeExternalDNS,
			address.Type == v1.NodeHostName && ip == nil:
			nameSet[address.Address] = true
		case ip != nil && (address.Type == v1.NodeHostName || address.Type == v1.NodeInternalIP ||
			address.Type == v1.NodeExternalIP):
			ipSet[address.Address] = ip
		}
	}
	ips = slices.SortedFunc(maps.Values(ipSet),
		func(a, b net.IP) int { return strings.Compare(a.String(), b.String()) })
	return slices.Sorted(maps.Keys(nameSet)), ips
}
