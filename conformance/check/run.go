package check

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/config"
	"fauxlet/conformance"
	"fauxlet/testcerts"
)

// Options say what is checked and from where.
type Options struct {
	// Cluster is the way to the apiserver, as an admin.
	Cluster *rest.Config
	// NodeIPs are addresses of this machine that the apiserver can reach. None: the one by which this machine reaches the
	// apiserver.
	NodeIPs []netip.Addr
	// ClientCA has the CAs by which the nodes know kube-apiserver: their clientCAFile. Nil: not known.
	ClientCA *x509.CertPool
	// ServingCA signs serving certificates that the apiserver is to accept. Nil: there is none.
	ServingCA *testcerts.Authority
	// ApproveServing has the cluster's own signer issue one: a CertificateSigningRequest is made and approved.
	ApproveServing bool
	// Checks are what to run. Nil: all.
	Checks []Check
	// Tell, where it is set, gets each result as it comes, one at a time.
	Tell func(conformance.Result)
	// Note, where it is set, gets what else there is to say.
	Note func(string)
	// Tool is the name and version of the program.
	Tool string
}

// run is what checks work with.
type run struct {
	options Options
	client  *kubernetes.Clientset
	config  *rest.Config
	// nodeIP is where kubelets listen.
	nodeIP   netip.Addr
	id       string
	version  string // of the apiserver
	objects  *objects
	standIns *config.Config // of all stand-ins
	serving  servingOnce
}

// ErrCannot is that nothing could be checked.
type ErrCannot struct{ error }

func (e ErrCannot) Unwrap() error { return e.error }

// Execute checks an apiserver, removes what it made there, and reports. It gives an error where nothing could be checked.
// When ctx is done, it stops, and removes what it made before it returns.
func Execute(ctx context.Context, o Options) (*conformance.Report, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	report := &conformance.Report{Tool: o.Tool, Target: r.config.Host, Started: time.Now()}
	version, err := r.client.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("the apiserver at %s: %w", r.config.Host, err)
	}
	report.TargetVersion = version.GitVersion
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := r.objects.open(running, stop); err != nil {
		report.Left = r.objects.remove(ctx)
		return nil, err
	}
	checks := o.Checks
	if checks == nil {
		checks = Checks()
	}
	tell := o.Tell
	if tell == nil {
		tell = func(conformance.Result) {}
	}
	report.Results = schedule(running, checks, tell, func(ctx context.Context, c Check) (conformance.Result, error) { return c.run(ctx, r) })
	report.Left = r.objects.remove(ctx)
	report.Duration = conformance.Seconds(time.Since(report.Started))
	if err := ctx.Err(); err != nil {
		return report, fmt.Errorf("stopped before it was done: %w", context.Cause(ctx))
	}
	return report, nil
}

func newRun(o Options) (*run, error) {
	r := &run{options: o, config: rest.CopyConfig(o.Cluster), id: newID()}
	r.config.QPS = -1
	client, err := kubernetes.NewForConfig(r.config)
	if err != nil {
		return nil, err
	}
	r.client = client
	if len(o.NodeIPs) > 0 {
		r.nodeIP = o.NodeIPs[0]
	} else if r.nodeIP, err = addressTowards(r.config.Host); err != nil {
		return nil, err
	}
	flags := config.NewFlags()
	if err := flags.Set("hostname-override", "fauxlet-check"); err != nil {
		return nil, err
	}
	if r.standIns, err = flags.Load(); err != nil {
		return nil, err
	}
	r.objects = &objects{client: client, id: r.id, note: o.Note}
	if r.objects.note == nil {
		r.objects.note = func(string) {}
	}
	return r, nil
}

// newID names a run. It is long enough for nobody to meet another's.
func newID() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	id := make([]byte, 8)
	for i := range id {
		id[i] = letters[rand.IntN(len(letters))]
	}
	return string(id)
}

// addressTowards is the address of this machine from which it sends to a host. Nothing is sent: a socket for datagrams is
// connected, and closed.
func addressTowards(host string) (netip.Addr, error) {
	at, err := url.Parse(host)
	if err != nil {
		return netip.Addr{}, err
	}
	port := at.Port()
	if port == "" {
		port = "443"
	}
	socket, err := net.Dial("udp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("which address of this machine the apiserver can reach is not known: %w; give --node-ip", err)
	}
	defer socket.Close()
	address, ok := netip.AddrFromSlice(socket.LocalAddr().(*net.UDPAddr).IP)
	if !ok {
		return netip.Addr{}, errors.New("which address of this machine the apiserver can reach is not known; give --node-ip")
	}
	return address.Unmap(), nil
}
