package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	netutils "k8s.io/utils/net"
)

// ServingOptions configure [NewServing]. NodeName, CertDir and Addresses are required.
type ServingOptions struct {
	NodeName string
	CertDir  string // CertDir is the folder of --cert-dir.
	// CertFile and KeyFile are the fields tlsCertFile and tlsPrivateKeyFile of the kubelet configuration. The
	// certificate in CertFile is served until CertDir contains an issued certificate.
	CertFile, KeyFile string
	// Client creates the requests, authenticated as the node. If Client is nil, no certificate is requested, and the
	// certificate in the files is served.
	Client kubernetes.Interface
	// Addresses returns the current addresses of the node. No certificate is requested while they contain no IP
	// address. A new certificate is requested when the node gets an address that the current certificate lacks. The
	// function is called about once a second, from several goroutines.
	Addresses func() []v1.NodeAddress
	// AllowDNSOnly is the feature gate AllowDNSOnlyNodeCSR: a certificate is requested even without an IP address.
	AllowDNSOnly bool
	// Logger logs each certificate request and its result. If Logger is nil, nothing is logged.
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
	age, failures := newRotationAge(), newFailures("kubelet_server_expiration_renew_errors")
	config := certificate.Config{GetTemplate: o.template, SignerName: certificatesv1.KubeletServingSignerName,
		GetUsages:           certificate.DefaultKubeletServingGetUsages,
		CertificateRotation: age, CertificateRenewFailure: failures}
	if o.Client != nil {
		config.ClientsetFn = func(*tls.Certificate) (kubernetes.Interface, error) { return o.Client, nil }
	}
	requests := &requestLogger{logger: o.Logger, node: o.NodeName, kind: "serving", next: nextAutomatic}
	rotation, err := newRotation(o.NodeName, files, requests, config)
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file, and a new certificate is requested", o.CertDir, err)
	}
	ttl := newTTL("server", "shortest TTL", "serving", rotation.Current)
	return &Serving{rotation, []prometheus.Collector{failures, age, ttl}}, nil
}

// Run requests and renews the certificate until ctx ends. Call it once.
func (s *Serving) Run(ctx context.Context) {
	s.manager.Start()
	<-ctx.Done()
	s.manager.Stop()
}

// Current returns the certificate to serve, or nil if there is none or it has expired. If it is nil, the caller must
// refuse TLS handshakes.
func (s *Serving) Current() *tls.Certificate { return s.manager.Current() }

// template returns the x509 template of the certificate request, or nil while no certificate can be requested. The
// template has the DNS names and the IP addresses of the node, sorted and without duplicates. If an address of type
// Hostname is an IP address, it is listed with the IP addresses. If an address of type InternalIP or ExternalIP is not
// an IP address, it is dropped. (kubelet: certificate.addressesToHostnamesAndIPs)
func (o *ServingOptions) template() *x509.CertificateRequest {
	names, ips := sets.New[string](), sets.New[string]()
	for _, address := range o.Addresses() {
		ip := netutils.ParseIPSloppy(address.Address)
		switch address.Type {
		case v1.NodeHostName, v1.NodeInternalIP, v1.NodeExternalIP:
			if ip != nil {
				ips.Insert(ip.String())
			} else if address.Type == v1.NodeHostName {
				names.Insert(address.Address)
			}
		case v1.NodeInternalDNS, v1.NodeExternalDNS:
			names.Insert(address.Address)
		}
	}
	names.Delete("")
	if len(ips) == 0 && !(o.AllowDNSOnly && len(names) > 0) {
		return nil
	}
	request := &x509.CertificateRequest{Subject: subject(o.NodeName), DNSNames: sets.List(names)}
	for _, ip := range sets.List(ips) {
		request.IPAddresses = append(request.IPAddresses, net.ParseIP(ip))
	}
	return request
}
