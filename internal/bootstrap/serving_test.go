package bootstrap_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"

	"fauxlet/internal/bootstrap"
	"fauxlet/testcerts"
)

// server is the node under test, which requests a serving certificate.
type server struct {
	*fixture
	options   bootstrap.ServingOptions
	addresses atomic.Pointer[[]v1.NodeAddress]
	client    kubernetes.Interface
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{fixture: newFixture(t, true)}
	s.has()
	s.client = s.clientOf(t, "node-1")
	s.options = bootstrap.ServingOptions{
		NodeName: "node-1", CertDir: s.fixture.options.CertDir, Client: s.client, Logger: s.fixture.options.Logger,
		Addresses: func() []v1.NodeAddress { return *s.addresses.Load() },
	}
	return s
}

// clientOf returns a client authenticated as a node.
func (w *fixture) clientOf(t testing.TB, node string) kubernetes.Interface {
	t.Helper()
	pair, err := w.ca.Client("system:node:"+node, []string{"system:nodes"})
	must(t, err)
	client, err := kubernetes.NewForConfig(
		&rest.Config{Host: w.URL, QPS: -1, Dial: *bootstrap.Dial,
			TLSClientConfig: rest.TLSClientConfig{CAData: w.ca.CertPEM(), CertData: pair.CertPEM,
				KeyData: pair.KeyPEM}})
	must(t, err)
	return client
}

// The method "has" sets the addresses of the node. Each argument has the form TYPE=ADDRESS.
func (s *server) has(addresses ...string) {
	all := []v1.NodeAddress{}
	for _, text := range addresses {
		kind, address, _ := strings.Cut(text, "=")
		all = append(all, v1.NodeAddress{Type: v1.NodeAddressType(kind), Address: address})
	}
	s.addresses.Store(&all)
}

// start runs a Serving. The Serving ends with the test, or earlier if the test calls fixture.again.
func (s *server) start(t testing.TB) *bootstrap.Serving {
	t.Helper()
	serving, err := bootstrap.NewServing(s.options)
	must(t, err)
	ended, ctx := make(chan struct{}), s.ctx
	go func() {
		defer close(ended)
		serving.Run(ctx)
	}()
	t.Cleanup(func() { s.stop(); <-ended })
	return serving
}

func wantsServingRequest(t testing.TB, request *certificatesv1.CertificateSigningRequest, names, ips string) {
	t.Helper()
	content := parse(t, request)
	if got := content.Subject.String(); got != "CN=system:node:node-1,O=system:nodes" {
		t.Errorf("subject %s", got)
	}
	if got := strings.Join(content.DNSNames, " "); got != names {
		t.Errorf("names %s, want %s", got, names)
	}
	if got := strings.Trim(fmt.Sprint(content.IPAddresses), "[]"); got != ips {
		t.Errorf("addresses %s, want %s", got, ips)
	}
	spec := request.Spec
	if !strings.HasPrefix(request.Name, "csr-") || spec.SignerName != "kubernetes.io/kubelet-serving" ||
		spec.ExpirationSeconds != nil ||
		spec.Username != "system:node:node-1" ||
		!slices.Equal(spec.Usages, []certificatesv1.KeyUsage{"digital signature", "server auth"}) {
		t.Errorf("unexpected spec of request %s: %+v", request.Name, spec)
	}
}

func TestServing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		serving := s.start(t)
		s.has("Hostname=node-1", "InternalDNS=node-1.internal", "InternalIP=192.0.2.7", "InternalIP=2001:db8::7",
			"ExternalIP=198.51.100.1",
			"ExternalDNS=node-1.example.com", "Hostname=node-1", "InternalIP=not-an-address", "ExternalIP=",
			"Other=node-2")
		request := s.nth(t, 0)
		wantsServingRequest(t, request, "node-1 node-1.example.com node-1.internal",
			"192.0.2.7 198.51.100.1 2001:db8::7")
		s.logs(t, "waiting for approval", "certificate=serving", "approve=kubectl certificate approve "+request.Name)
		if serving.Current() != nil {
			t.Error("there is a certificate although none was issued")
		}
		s.change(request.Name, condition(certificatesv1.CertificateApproved, "KubectlApprove"))
		s.logs(t, "request approved; waiting for the signer")
		first := s.issue(t, request)
		s.current(t, serving, first.SerialNumber.String())
		s.hasFiles(t, "kubelet-server-"+stamp+`\.pem`, `kubelet-server-current\.pem -> kubelet-server-`+stamp+`\.pem`)

		// If an address disappears, no new certificate is requested. If an address is added, a new certificate is
		// requested. The old certificate is served until the new one is issued.
		s.has("Hostname=node-1", "InternalIP=192.0.2.7")
		s.has("Hostname=node-1", "InternalIP=192.0.2.8")
		second := s.nth(t, 1)
		wantsServingRequest(t, second, "node-1", "192.0.2.8")
		s.current(t, serving, first.SerialNumber.String())

		// The address changes again while the second request is pending. The certificate library may notice this at
		// once, or only after the second request is answered, because the goroutine that looks for changes may still be
		// busy with the earlier change.
		s.has("Hostname=node-1", "InternalIP=192.0.2.9")
		s.issue(t, second)
		third := s.nth(t, 2)
		wantsServingRequest(t, third, "node-1", "192.0.2.9")
		s.current(t, serving, s.issue(t, third).SerialNumber.String())
		if got := gather(t, serving.Metrics()); got["kubelet_server_expiration_renew_errors"] > 1 ||
			got["kubelet_certificate_manager_server_rotation_seconds"] < 1 ||
			got["kubelet_certificate_manager_server_ttl_seconds"] < 3500 ||
			got["kubelet_certificate_manager_server_ttl_seconds"] > 3600 {
			t.Errorf("unexpected metrics: %v", got)
		}

		// After a restart the certificate is served at once, and no certificate is requested.
		s.again()
		s.current(t, s.start(t), issued(t, s.fixture, third))
		if len(s.all()) != 3 {
			t.Errorf("%d certificates were requested", len(s.all()))
		}
	})
}

func issued(t testing.TB, w *fixture, request *certificatesv1.CertificateSigningRequest) string {
	t.Helper()
	all, err := certutil.ParseCertsPEM(w.named(request.Name).Status.Certificate)
	must(t, err)
	return all[0].SerialNumber.String()
}

func (s *server) current(t testing.TB, serving *bootstrap.Serving, serial string) {
	t.Helper()
	eventually(t, "the node serves the certificate with serial number "+serial, func() bool {
		current := serving.Current()
		return current != nil && current.Leaf.SerialNumber.String() == serial
	})
}

// TestServingWithoutAddress checks that no certificate is requested without an IP address, unless the feature gate
// allows it.
func TestServingWithoutAddress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.options.AllowDNSOnly = true
		s.has("Hostname=node-1")
		s.start(t)
		wantsServingRequest(t, s.nth(t, 0), "node-1", "")

		s.again()
		s.options.AllowDNSOnly = false
		called := make(chan struct{}, 16)
		addresses := s.options.Addresses
		s.options.Addresses = func() []v1.NodeAddress {
			select {
			case called <- struct{}{}:
			default:
			}
			return addresses()
		}
		s.start(t)
		for range cap(called) {
			<-called
		}
		if len(s.all()) != 1 {
			t.Error("a certificate was requested without an address")
		}
		s.has("Hostname=node-1", "InternalIP=192.0.2.7")
		wantsServingRequest(t, s.nth(t, 1), "node-1", "192.0.2.7")
	})
}

// TestServingOfFiles checks that tlsCertFile is served until a certificate is issued. Without a client for the
// apiserver, no certificate is requested, and tlsCertFile is served forever.
func TestServingOfFiles(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.has("InternalIP=192.0.2.7")
		pair, err := s.ca.Server("system:node:node-1", []string{"192.0.2.1"})
		must(t, err)
		s.options.CertFile, s.options.KeyFile = s.path("given.crt"), s.path("given.key")
		must(t, pair.Write(s.options.CertFile, s.options.KeyFile))

		s.options.Client = nil
		s.current(t, s.start(t), pair.Leaf.SerialNumber.String())
		s.again()
		s.options.Client = s.client
		serving := s.start(t)
		s.current(t, serving, pair.Leaf.SerialNumber.String())
		s.current(t, serving, s.issue(t, s.nth(t, 0)).SerialNumber.String())
		if len(s.all()) != 1 {
			t.Errorf("%d certificates were requested", len(s.all()))
		}
	})
}

func TestServingDenied(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.has("InternalIP=192.0.2.7")
		serving := s.start(t)
		s.change(s.nth(t, 0).Name, condition(certificatesv1.CertificateDenied, "NotMine"))
		s.logs(t, "request denied", "certificate=serving", "reason=NotMine", "a new request follows automatically")
		second := s.nth(t, 1)
		if serving.Current() != nil {
			t.Error("there is a certificate although none was issued")
		}
		s.current(t, serving, s.issue(t, second).SerialNumber.String())
	})
}

func TestServingFiles(t *testing.T) {
	t.Parallel()
	keeps := func(s *server, t testing.TB, pair *testcerts.Pair) string {
		file := s.path("pki/kubelet-server-2026-01-02-03-04-05.pem")
		pemOf(t, file, pair)
		must(t, os.Symlink(file, s.path("pki/kubelet-server-current.pem")))
		return file
	}
	for name, test := range map[string]struct {
		spoil func(testing.TB, *server, *testcerts.Pair)
		want  []string // the error contains these texts; if nil, a new certificate is requested
	}{
		"a truncated certificate": {spoil: func(t testing.TB, s *server, good *testcerts.Pair) {
			must(t, os.Truncate(keeps(s, t, good), 100))
		},
			want: []string{"--cert-dir", "kubelet-server-current.pem", "remove the file"}},
		"a link to nowhere": {spoil: func(t testing.TB, s *server, good *testcerts.Pair) {
			must(t, os.Remove(keeps(s, t, good)))
		}},
		"an expired certificate": {spoil: func(t testing.TB, s *server, _ *testcerts.Pair) {
			expired, err := s.ca.Server("system:node:node-1", []string{"192.0.2.7"}, testcerts.Expired)
			must(t, err)
			keeps(s, t, expired)
		}},
		"a file for the folder": {spoil: func(t testing.TB, s *server, _ *testcerts.Pair) {
			s.options.CertDir = s.path("bootstrap.conf")
		}, want: []string{"--cert-dir", "not a directory"}},
		"a link between two": {spoil: func(t testing.TB, s *server, good *testcerts.Pair) {
			must(t, os.Rename(keeps(s, t, good), s.path("pki/x")))
			must(t, os.Remove(s.path("pki/kubelet-server-current.pem")))
			must(t, os.Symlink(s.path("pki/x"), s.path("pki/kubelet-server-updated.pem")))
		}},
		"no node name": {spoil: func(_ testing.TB, s *server, _ *testcerts.Pair) { s.options.NodeName = "" },
			want: []string{"NodeName"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.has("InternalIP=192.0.2.7")
				good, err := s.ca.Server("system:node:node-1", []string{"192.0.2.7"},
					func(c *x509.Certificate) { c.Subject.Organization = []string{"system:nodes"} })
				must(t, err)
				test.spoil(t, s, good)
				if test.want != nil {
					_, err := bootstrap.NewServing(s.options)
					wantsError(t, err, test.want...)
					return
				}
				serving := s.start(t)
				if name == "a link between two" {
					// The files look as if the process had ended while the store changed the link to the current
					// certificate: the new link exists under its temporary name, but was not yet renamed.
					s.current(t, serving, good.Leaf.SerialNumber.String())
					return
				}
				if serving.Current() != nil {
					t.Error("a certificate is served")
				}
				s.current(t, serving, s.issue(t, s.nth(t, 0)).SerialNumber.String())
			})
		})

	}
}

// TestServingCannotBeStored checks a running node whose certificate folder was removed.
func TestServingCannotBeStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.has("InternalIP=192.0.2.7")
		serving := s.start(t)
		request := s.nth(t, 0)
		must(t, os.RemoveAll(s.options.CertDir))
		must(t, os.WriteFile(s.options.CertDir, nil, 0o600))
		s.issue(t, request)
		s.logs(t, "cannot store the issued certificate", "not a directory")
		second := s.nth(t, 1)
		if serving.Current() != nil {
			t.Error("a certificate is served that was not stored")
		}
		must(t, os.Remove(s.options.CertDir))
		s.current(t, serving, s.issue(t, second).SerialNumber.String())
		s.hasFiles(t, "kubelet-server-"+stamp+`\.pem`, `kubelet-server-current\.pem -> kubelet-server-`+stamp+`\.pem`)
	})
}

// gather returns a map from the name of each metric to its value. The value of a histogram is the number of
// observations.
func gather(t testing.TB, collectors []prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors...)
	families, err := registry.Gather()
	must(t, err)
	values := map[string]float64{}
	for _, family := range families {
		metric := family.Metric[0]
		switch {
		case metric.Counter != nil:
			values[family.GetName()] = metric.Counter.GetValue()
		case metric.Gauge != nil:
			values[family.GetName()] = metric.Gauge.GetValue()
		case metric.Histogram != nil:
			values[family.GetName()] = float64(metric.Histogram.GetSampleCount())
		}
	}
	return values
}

func TestMetricsWithoutCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		serving, err := bootstrap.NewServing(s.options)
		must(t, err)
		got := gather(t, serving.Metrics())
		if ttl := got["kubelet_certificate_manager_server_ttl_seconds"]; !math.IsInf(ttl, 1) || len(got) != 3 {
			t.Errorf("unexpected metrics: %v", got)
		}
	})
}

// TestManyNodes checks 30 nodes with one client: each has its own folder and its own request.
func TestManyNodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		client := w.clientOf(t, "node-1")
		const nodes = 30
		var all []*bootstrap.Serving
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{}, nodes)
		for i := range nodes {
			serving, err := bootstrap.NewServing(bootstrap.ServingOptions{
				NodeName: fmt.Sprintf("node-%d", i), CertDir: w.path(fmt.Sprintf("pki-%d", i)), Client: client,
				Addresses: func() []v1.NodeAddress {
					return []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: net.IPv4(192, 0, 2, byte(i)).String()}}
				},
			})
			must(t, err)
			all = append(all, serving)
			go func() { serving.Run(ctx); ended <- struct{}{} }()
		}
		w.nth(t, nodes-1)
		for _, request := range w.all() {
			w.issue(t, request)
		}
		for i, serving := range all {
			eventually(t, "the node serves a certificate", func() bool { return serving.Current() != nil })
			if leaf := serving.Current().Leaf; leaf.Subject.CommonName != fmt.Sprintf("system:node:node-%d", i) ||
				leaf.IPAddresses[0][3] != byte(i) {
				t.Errorf("node %d serves a certificate with subject %s and addresses %v", i, leaf.Subject,
					leaf.IPAddresses)
			}
		}
		stop()
		for range nodes {
			<-ended
		}
	})
}
