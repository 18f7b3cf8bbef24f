package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// CompareOptions describe the configuration with which the probed kubelet is compared.
type CompareOptions struct {
	// File is the KubeletConfiguration file, read like `fauxlet serve --config`.
	File string
	// ClientCAFile is a file on this machine that is used in place of the configuration's clientCAFile, which is a file
	// on the node. If ClientCAFile is empty, Run reads the file that the configuration names.
	ClientCAFile string
	// NodeName is the node name in SubjectAccessReviews. The default is the name in the serving certificate or,
	// without such a name, the target's host.
	NodeName string
	// Version is the version of Kubernetes that the stand-in emulates. If it is nil, this is the version that the
	// kubelet reports, or the newest version if the kubelet reports none that can be emulated.
	Version *config.Version
	// TokenReviews and AccessReviews authenticate tokens and authorize users for the stand-in. If either is nil, the
	// answers to the stand-in's reviews are inferred from the kubelet's responses. If the kubelet's responses do not
	// show an answer, the responses that depend on this answer are not compared.
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface
}

// reviewsObserved reports whether the answers to the stand-in's reviews are inferred from the kubelet's responses.
func (c *CompareOptions) reviewsObserved() bool {
	return c.TokenReviews == nil || c.AccessReviews == nil
}

// The method "version" returns the version that the stand-in emulates.
func (c *CompareOptions) version(seen *observation) config.Version {
	if c.Version != nil {
		return *c.Version
	}
	v, _ := config.ParseVersion(seen.version()) // in case of an error, v is the zero value
	return v
}

// load returns two configurations. The result "written" is the configuration as it is in the file. The result "served"
// is the stand-in's configuration: it listens on loopback and has the given serving certificate.
func (c *CompareOptions) load(version config.Version, node, certFile, keyFile string) (
	written, served *config.Config, err error,
) {
	kubelet := config.NewFlags()
	kubelet.Version = version
	load := func(flags ...string) (*config.Config, error) {
		for flag := range slices.Chunk(flags, 2) {
			if err := kubelet.Set(flag[0], flag[1]); err != nil {
				return nil, err
			}
		}
		return kubelet.Load()
	}
	if written, err = load("config", c.File, "hostname-override", node); err != nil {
		return nil, nil, err
	}
	flags := []string{"address", "127.0.0.1", "healthz-port", "0", "cert-dir", filepath.Dir(certFile),
		"rotate-server-certificates", "false", "tls-cert-file", certFile, "tls-private-key-file", keyFile}
	if file := written.Kubelet.Authentication.X509.ClientCAFile; file != "" {
		if c.ClientCAFile != "" {
			flags = append(flags, "client-ca-file", c.ClientCAFile)
		} else if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: authentication.x509.clientCAFile: %s is not on this machine; %w", c.File,
				file, ErrNoClientCA)
		}
	}
	served, err = load(flags...)
	return written, served, err
}

// ErrNoClientCA is the error of Run if the configuration's clientCAFile does not exist on this machine.
var ErrNoClientCA = errors.New("a copy of the node's client CA file is needed")

// newStandIn returns a stand-in kubelet, and the two configurations that the method "load" returns. It writes the
// stand-in's serving certificate, signed by ca, to the directory dir.
func (p *prober) newStandIn(seen *observation, dir string, ca *testcerts.Authority) (
	standIn *server.Server, written, served *config.Config, err error,
) {
	c := p.options.Compare
	var mutate []testcerts.Mutate
	node := c.NodeName
	if len(seen.tls.chain) > 0 {
		leaf := seen.tls.chain[0]
		node = cmp.Or(node, nodeOf(leaf))
		if leaf.PublicKeyAlgorithm == x509.RSA { // the accepted cipher suites depend on the type of key
			mutate = append(mutate, testcerts.RSA)
		}
	}
	pair, err := ca.Server("fauxlet-probe", []string{"127.0.0.1"}, mutate...)
	if err != nil {
		return nil, nil, nil, err
	}
	certFile, keyFile := filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key")
	if err := pair.Write(certFile, keyFile); err != nil {
		return nil, nil, nil, err
	}
	name := cmp.Or(node, strings.ToLower(p.options.Target.Host))
	flag := name
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		flag = "node" // config.Load accepts only names that a Node may have, which an address such as ::1 is not
	}
	if written, served, err = c.load(c.version(seen), flag, certFile, keyFile); err != nil {
		return nil, nil, nil, err
	}
	written.NodeName, served.NodeName = name, name
	options := server.Options{Config: served, TokenReviews: c.TokenReviews, AccessReviews: c.AccessReviews, Drain: -1}
	if c.reviewsObserved() {
		client := &rest.Config{Host: "http://reviews.invalid", QPS: -1}
		options.TokenReviews, options.AccessReviews, err = reviewapi.ClientsOf(client, seen.reviews())
		if err != nil {
			return nil, nil, nil, err
		}
	}
	if options.Pods, err = pods.NewStore(); err != nil {
		return nil, nil, nil, err
	}
	if standIn, err = server.New(options); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return standIn, written, served, nil
}

// standIn runs a stand-in kubelet with the given configuration on loopback and probes it like the real kubelet. It also
// returns the unchanged configuration.
func (p *prober) standIn(ctx context.Context, seen *observation) (o *observation, written *config.Config, err error) {
	dir, err := os.MkdirTemp("", "fauxlet-probe-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	ca, err := testcerts.NewAuthority("fauxlet-probe-ca")
	if err != nil {
		return nil, nil, err
	}
	standIn, written, served, err := p.newStandIn(seen, dir, ca)
	if err != nil {
		return nil, nil, err
	}
	listeners := &server.Listeners{}
	defer listeners.Close()
	if listeners.Secure, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, nil, err
	}
	readOnly := 0
	if served.Kubelet.ReadOnlyPort > 0 {
		if listeners.ReadOnly, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		readOnly = listeners.ReadOnly.Addr().(*net.TCPAddr).Port
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- standIn.Serve(serving, listeners) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	address := listeners.Secure.Addr().(*net.TCPAddr)
	target := Target{address.IP.String(), strconv.Itoa(address.Port)}
	s := &endpoint{target: target, address: address.String(), name: target.Host,
		verify: &tls.Config{RootCAs: ca.Pool()}}
	o = p.observe(ctx, s, seen.identities, nil)
	if len(o.tls.chain) == 0 {
		err := fmt.Errorf("%s: the TLS handshake with a stand-in that has this configuration failed: %s",
			p.options.Compare.File, o.tls.Error)
		return nil, nil, errors.Join(ctx.Err(), err)
	}
	o.readOnly = p.probeReadOnly(ctx, s, readOnly)
	return o, written, ctx.Err()
}
