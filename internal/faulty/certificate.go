package faulty

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/internal/faults"
	"fauxlet/testcerts"
)

// getCertificate is the type of [crypto/tls.Config.GetCertificate].
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// GetCertificate decorates the function "next", which returns the server's own certificate. If a serving-certificate
// fault applies to a handshake, the decorated function returns a certificate of the kind in the fault's field
// Certificate. Otherwise it calls "next".
func (n *Node) GetCertificate(next getCertificate) getCertificate {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		fault := n.applyToNode(faults.ServingCertificate)
		if fault == nil {
			return next(hello)
		}
		if conn := connOf(hello.Conn); conn != nil {
			conn.addAffectedBy(fault)
		}
		own, _ := next(hello)
		return n.certificate(fault.Certificate, n.hosts(own, hello))
	}
}

// decorateTLS changes config so that handshakes present the certificates of active faults. While such a fault is
// active, TLS sessions are not resumed, because a resumed session presents no certificate.
func (n *Node) decorateTLS(config *tls.Config) {
	inner, plain := config.GetConfigForClient, config.Clone()
	plain.NextProtos = []string{"h2", "http/1.1"} // net/http sets NextProtos only in config
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var wanted *tls.Config // if wanted stays nil, crypto/tls uses the original config
		if inner != nil {
			var err error
			if wanted, err = inner(hello); err != nil {
				return nil, err
			}
		}
		if len(n.active(faults.ServingCertificate)) == 0 {
			return wanted, nil
		}
		if wanted == nil {
			wanted = plain
		}
		wanted = wanted.Clone()
		wanted.SessionTicketsDisabled = true
		wanted.GetCertificate = n.GetCertificate(wanted.GetCertificate)
		return wanted, nil
	}
}

// The method "hosts" returns the names and addresses for the certificate of a fault: the node's name, the names and
// addresses in the server's own certificate, and the server name and address that the client has dialled.
func (n *Node) hosts(own *tls.Certificate, hello *tls.ClientHelloInfo) []string {
	hosts := []string{n.name}
	if own != nil && own.Leaf != nil {
		hosts = append(hosts, own.Leaf.DNSNames...)
		for _, ip := range own.Leaf.IPAddresses {
			hosts = append(hosts, ip.String())
		}
	}
	if hello.ServerName != "" && len(validation.IsDNS1123Subdomain(hello.ServerName)) == 0 {
		hosts = append(hosts, hello.ServerName)
	}
	if local, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
		hosts = append(hosts, local.IP.String())
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

const (
	// keepCertificates is how long a node presents one certificate before it makes a new one. It must be much shorter
	// than a day, because a certificate of the kind server-not-yet-valid becomes valid after a day.
	keepCertificates = time.Hour
	// maxCertificates is how many certificates a node keeps. A client chooses the server name, so there may be many.
	maxCertificates = 64
)

// certificate returns a certificate of the given kind for hosts. Like a kubelet, a node presents the same certificate
// in each handshake.
func (n *Node) certificate(kind string, hosts []string) (*tls.Certificate, error) {
	n.minting.Lock()
	defer n.minting.Unlock()
	key := kind + " " + strings.Join(hosts, " ")
	if kept, ok := n.certificates.Get(key); ok {
		return kept.(*tls.Certificate), nil
	}
	certificate, err := n.mint(kind, hosts)
	if err == nil {
		n.certificates.Add(key, certificate, keepCertificates)
	}
	return certificate, err
}

// mint returns a new certificate of the given kind for hosts.
func (n *Node) mint(name string, hosts []string) (*tls.Certificate, error) {
	authority, err := n.authority()
	if err != nil {
		return nil, err
	}
	kind, err := testcerts.KindNamed(name)
	if err != nil {
		return nil, err
	}
	if kind.Name == "server-kubelet-default" {
		hosts = nil // the self-signed certificate of a kubelet contains no name but the node's name
	}
	pair, err := kind.Mint(authority, testcerts.Request{CommonName: n.name, Hosts: hosts})
	if err != nil {
		return nil, err
	}
	certificate := pair.TLS()
	return &certificate, nil
}
