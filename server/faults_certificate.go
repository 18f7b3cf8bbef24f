package server

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

// getCertificate is that of a tls.Config.
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// spoiltCertificate is good, with the certificates of faults for the handshakes that they strike.
func (s *Server) spoiltCertificate(good getCertificate) getCertificate {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if s.faults.Empty() {
			return good(hello)
		}
		node := s.target()
		fault := s.faults.Apply(&node, faults.ServingCertificate)
		if fault == nil {
			return good(hello)
		}
		if conn := faultyConnOf(hello.Conn); conn != nil {
			conn.strike(fault)
		}
		own, _ := good(hello)
		return s.minted.get(fault, s.config.NodeName, s.hostsOf(own, hello))
	}
}

// resumeNoSpoilt has no session resumed while a fault is active that serves another certificate: who resumes one is shown
// none.
func (s *Server) resumeNoSpoilt(config *tls.Config) {
	faithful, afresh := config.GetConfigForClient, config.Clone()
	afresh.NextProtos = []string{"h2", "http/1.1"} // which net/http adds to the original
	afresh.SessionTicketsDisabled = true
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		spoilt := len(s.faults.Version().OfNode(s.config.NodeName, faults.ServingCertificate)) > 0
		if faithful == nil {
			if spoilt {
				return afresh, nil
			}
			return nil, nil
		}
		config, err := faithful(hello)
		if err == nil && spoilt {
			config = config.Clone()
			config.SessionTicketsDisabled = true
		}
		return config, err
	}
}

// hostsOf are those that a certificate for this client has to name: the node, those of its own certificate, and how the
// client calls it.
func (s *Server) hostsOf(own *tls.Certificate, hello *tls.ClientHelloInfo) []string {
	hosts := []string{s.config.NodeName}
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

// minted are the certificates of faults, and the CA that signs them.
type minted struct {
	mu        sync.Mutex
	authority *testcerts.Authority
	all       map[string]*tls.Certificate
	since     time.Time
}

// Minted certificates are kept for as long as one that is not valid before tomorrow stays so, and so many of them.
const (
	keepMinted = time.Hour
	mostMinted = 64
)

// get gives a certificate of the fault's kind for hosts.
func (m *minted) get(fault *faults.Active, node string, hosts []string) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil || len(m.all) == mostMinted || time.Since(m.since) > keepMinted {
		m.all, m.since = map[string]*tls.Certificate{}, time.Now()
	}
	key := fmt.Sprint(fault.Certificate, hosts)
	if known := m.all[key]; known != nil {
		return known, nil
	}
	if m.authority == nil {
		var err error
		if m.authority, err = testcerts.NewAuthority("fauxlet-fault-ca"); err != nil {
			return nil, err
		}
	}
	kind, err := testcerts.KindNamed(fault.Certificate)
	if err != nil {
		return nil, err
	}
	request := testcerts.Request{CommonName: node, Hosts: hosts}
	if kind.Name == "server-kubelet-default" {
		request.Hosts = nil // a kubelet names itself alone
	}
	pair, err := kind.Mint(m.authority, request)
	if err != nil {
		return nil, err
	}
	certificate := pair.TLS()
	m.all[key] = &certificate
	return &certificate, nil
}
