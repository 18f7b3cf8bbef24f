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

// ServingOptions say for whom a serving certificate is asked.
type ServingOptions struct {
	// NodeName is the node's. Required.
	NodeName string
	// CertDir is the folder of --cert-dir. Required.
	CertDir string
	// CertFile and KeyFile are tlsCertFile and tlsPrivateKeyFile. Where CertDir has no certificate yet, the one that they
	// hold is served until another is issued.
	CertFile, KeyFile string
	// Client asks, as the node. Nil: nothing is asked for; what is in the files is served.
	Client kubernetes.Interface
	// Addresses are those that the node has at the moment. While there is no IP address among them, nothing is asked for;
	// when there is one that the certificate lacks, a new one is. It is called from many goroutines, about once a second.
	// Required.
	Addresses func() []v1.NodeAddress
	// AllowDNSOnly is the feature gate AllowDNSOnlyNodeCSR: a name is enough.
	AllowDNSOnly bool
	// Logger is told what is asked for and what became of it. Nil: nobody.
	Logger *zap.Logger
}

// Serving is a serving certificate that is asked for and asked for again.
type Serving struct {
	manager certificate.Manager
	metrics []prometheus.Collector
}

// NewServing reads the certificate that there is, if there is one; [Serving.Run] asks for others. (kubelet:
// certificate.NewKubeletServerCertificateManager)
func NewServing(o ServingOptions) (*Serving, error) {
	if o.NodeName == "" || o.Addresses == nil {
		return nil, errors.New("identity: ServingOptions.NodeName and ServingOptions.Addresses are required")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	files, err := newStore(o.Logger, o.NodeName, "server", o.CertDir, o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	if o.Client != nil && !files.good() {
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
		client := (&news{logger: o.Logger, node: o.NodeName, kind: "serving", again: againByItself}).of(o.Client)
		config.ClientsetFn = func(*tls.Certificate) (kubernetes.Interface, error) { return client, nil }
	}
	rotation, err := newRotation(o.NodeName, config)
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file to have a certificate asked for anew", o.CertDir, err)
	}
	return &Serving{rotation, []prometheus.Collector{failures, age, newTTL(serverTTL, rotation.Current)}}, nil
}

// Run asks for certificates until ctx ends. It may be called once.
func (s *Serving) Run(ctx context.Context) {
	s.manager.Start()
	<-ctx.Done()
	s.manager.Stop()
}

// Current is the certificate to serve with; nil where there is none, or none that is still good: then handshakes are to be
// refused.
func (s *Serving) Current() *tls.Certificate { return s.manager.Current() }

// template is what to ask for. The library asks each second whether it is still the same, so it is kept.
type template struct {
	nodeName  string
	addresses func() []v1.NodeAddress
	dnsOnly   bool

	mu      sync.Mutex
	of      []v1.NodeAddress
	request *x509.CertificateRequest
}

func (t *template) get() *x509.CertificateRequest {
	addresses := t.addresses()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.request != nil && slices.Equal(addresses, t.of) {
		return t.request
	}
	t.of, t.request = slices.Clone(addresses), nil
	names, ips := namesAndIPs(addresses)
	if len(ips) > 0 || t.dnsOnly && len(names) > 0 {
		t.request = &x509.CertificateRequest{Subject: subject(t.nodeName), DNSNames: names, IPAddresses: ips}
	}
	return t.request
}

// namesAndIPs sorts addresses into the two kinds of a certificate, each once and in a stable order. A host name may be an
// IP address; what claims to be an IP address and is none is left out. (kubelet: certificate.addressesToHostnamesAndIPs)
func namesAndIPs(addresses []v1.NodeAddress) (names []string, ips []net.IP) {
	nameSet, ipSet := map[string]bool{}, map[string]net.IP{}
	for _, address := range addresses {
		ip := netutils.ParseIPSloppy(address.Address)
		switch {
		case address.Address == "":
		case address.Type == v1.NodeInternalDNS, address.Type == v1.NodeExternalDNS, address.Type == v1.NodeHostName && ip == nil:
			nameSet[address.Address] = true
		case ip != nil && (address.Type == v1.NodeHostName || address.Type == v1.NodeInternalIP || address.Type == v1.NodeExternalIP):
			ipSet[address.Address] = ip
		}
	}
	ips = slices.SortedFunc(maps.Values(ipSet), func(a, b net.IP) int { return strings.Compare(a.String(), b.String()) })
	return slices.Sorted(maps.Keys(nameSet)), ips
}
