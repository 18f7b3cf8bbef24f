package faulty

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/internal/faults"
	"fauxlet/testcerts"
)

// GetCertificate is the type of [crypto/tls.Config.GetCertificate].
type GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// GetCertificate returns next, with the certificate of an active fault in the handshakes that the fault applies to.
func (n *Node) GetCertificate(next GetCertificate) GetCertificate {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		node := n.target()
		fault := n.faults.Apply(&node, faults.ServingCertificate)
		if fault == nil {
			return next(hello)
		}
		if conn := connOf(hello.Conn); conn != nil {
			conn.addAffectedBy(fault)
		}
		own, _ := next(hello)
		return n.certificates.get(fault, n.name, n.hosts(own, hello))
	}
}

// decorateTLS changes config so that handshakes present the certificates of active faults. No session is resumed
// meanwhile: a client that resumes a session is not shown a certificate.
func (n *Node) decorateTLS(config *tls.Config) {
	inner, plain := config.GetConfigForClient, config.Clone()
	plain.NextProtos = []string{"h2", "http/1.1"} // net/http adds them to the original only
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var wanted *tls.Config // nil is the original
		if inner != nil {
			var err error
			if wanted, err = inner(hello); err != nil {
				return nil, err
			}
		}
		if n.faults.Empty() || len(n.active(faults.ServingCertificate)) == 0 {
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

// hosts are the names and addresses that a valid certificate for this client must have: the node's name, those of the
// server's own certificate, the name that the client sent, and the address that it dialled.
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

// certificates mints and keeps the serving certificates of faults.
type certificates struct {
	mu        sync.Mutex
	authority *testcerts.Authority
	all       map[string]*tls.Certificate
	since     time.Time
}

const (
	// keepCertificates is short enough that a certificate that becomes valid tomorrow is still not valid when it is
	// used.
	keepCertificates = time.Hour
	maxCertificates  = 64
)

// get returns a certificate of the fault's kind for hosts.
func (c *certificates) get(fault *faults.Active, node string, hosts []string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) == maxCertificates || time.Since(c.since) > keepCertificates {
		c.all, c.since = map[string]*tls.Certificate{}, time.Now()
	}
	key := fmt.Sprint(fault.Certificate, hosts)
	if certificate := c.all[key]; certificate != nil {
		return certificate, nil
	}
	if c.authority == nil {
		var err error
		if c.authority, err = testcerts.NewAuthority("fauxlet-fault-ca"); err != nil {
			return nil, err
		}
	}
	kind, err := testcerts.KindNamed(fault.Certificate)
	if err != nil {
		return nil, err
	}
	request := testcerts.Request{CommonName: node, Hosts: hosts}
	if kind.Name == "server-kubelet-default" {
		request.Hosts = nil // a kubelet's self-signed certificate has the node's name alone
	}
	pair, err := kind.Mint(c.authority, request)
	if err != nil {
		return nil, err
	}
	certificate := pair.TLS()
	c.all[key] = &certificate
	return &certificate, nil
}
