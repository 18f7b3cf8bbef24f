package probe

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// CompareOptions is the configuration that a kubelet is held against.
type CompareOptions struct {
	// File is its KubeletConfiguration, read as `fauxlet serve --config` reads it.
	File string
	// ClientCAFile takes the place of the file on the node that the configuration names; empty: that one is read.
	ClientCAFile string
	// NodeName is what the reviewers are asked about; empty: what the serving certificate says, or the target's host.
	NodeName string
	// TokenReviews and AccessReviews say whose a token is and what a user may do. Nil: the stand-in is answered as the kubelet
	// was seen to have been, and what was not seen is not compared.
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface
}

// asSeen says whether reviews are answered from what was seen.
func (c *CompareOptions) asSeen() bool { return c.TokenReviews == nil || c.AccessReviews == nil }

// load reads the configuration twice: as it is written, and as it can be served here, on loopback and with the serving
// certificate in dir.
func (c *CompareOptions) load(dir, node string) (written, served *config.Config, err error) {
	kubelet := config.NewFlags()
	kubelet.Strict = true
	load := func(flags ...string) (*config.Config, error) {
		for n := 0; n < len(flags); n += 2 {
			if err := kubelet.Set(flags[n], flags[n+1]); err != nil {
				return nil, err
			}
		}
		return kubelet.Load()
	}
	if written, err = load("config", c.File, "hostname-override", node); err != nil {
		return nil, nil, err
	}
	certFile, keyFile := servingFiles(dir)
	flags := []string{"address", "127.0.0.1", "healthz-port", "0", "cert-dir", dir, "rotate-server-certificates", "false", "tls-cert-file", certFile, "tls-private-key-file", keyFile}
	if file := written.Kubelet.Authentication.X509.ClientCAFile; file != "" {
		if c.ClientCAFile != "" {
			flags = append(flags, "client-ca-file", c.ClientCAFile)
		} else if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: authentication.x509.clientCAFile: %s is not on this machine; %w", c.File, file, ErrNoClientCA)
		}
	}
	served, err = load(flags...)
	return written, served, err
}

// ErrNoClientCA is what Run says where the configuration's client CA is not at hand.
var ErrNoClientCA = errors.New("a copy of the node's is needed")

func servingFiles(dir string) (certFile, keyFile string) {
	return filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key")
}

// servingPair makes the stand-in a serving certificate with the kubelet's kind of key, on which it depends which cipher
// suites it takes.
func servingPair(dir string, seen *observation) (*tls.Config, error) {
	ca, err := testcerts.NewAuthority("fauxlet-probe-ca")
	if err != nil {
		return nil, err
	}
	var mutate []testcerts.Mutate
	if len(seen.tls.chain) > 0 {
		if _, ok := seen.tls.chain[0].PublicKey.(*rsa.PublicKey); ok {
			mutate = append(mutate, testcerts.RSA)
		}
	}
	pair, err := ca.Server("fauxlet-probe", []string{"127.0.0.1"}, mutate...)
	if err != nil {
		return nil, err
	}
	certFile, keyFile := servingFiles(dir)
	return &tls.Config{RootCAs: ca.Pool()}, pair.Write(certFile, keyFile)
}

// observeStandIn asks a stand-in of the configuration, in this process and on loopback, all that the kubelet was asked.
// written is the configuration.
func (p *prober) observeStandIn(ctx context.Context, seen *observation) (o *observation, written *config.Config, err error) {
	c := p.options.Compare
	dir, err := os.MkdirTemp("", "fauxlet-probe-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	verify, err := servingPair(dir, seen)
	if err != nil {
		return nil, nil, err
	}
	written, served, err := c.load(dir, p.nodeName(seen))
	if err != nil {
		return nil, nil, err
	}
	options := server.Options{Config: served, TokenReviews: c.TokenReviews, AccessReviews: c.AccessReviews, Drain: -1}
	if c.asSeen() {
		if options.TokenReviews, options.AccessReviews, err = newSeenReviews(seen); err != nil {
			return nil, nil, err
		}
	}
	if options.Pods, err = pods.NewStore(); err != nil {
		return nil, nil, err
	}
	standIn, err := server.New(options)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.File, err)
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
	s := &peer{target: target, address: address.String(), name: target.Host, verify: verify}
	o = p.observe(ctx, s, seen.identities, nil)
	if len(o.tls.chain) == 0 {
		return nil, nil, errors.Join(ctx.Err(), fmt.Errorf("%s: a stand-in of it does not get through a handshake: %s", c.File, o.tls.Error))
	}
	o.readOnly = p.askReadOnly(ctx, s, readOnly)
	return o, written, ctx.Err()
}

// nodeName is the node's, as far as it is known.
func (p *prober) nodeName(seen *observation) string {
	if p.options.Compare.NodeName != "" {
		return p.options.Compare.NodeName
	}
	if len(seen.tls.chain) > 0 {
		if name := nodeOf(seen.tls.chain[0]); name != "" {
			return name
		}
	}
	return strings.ToLower(p.options.Target.Host)
}
