package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/conformance"
	"fauxlet/conformance/stage"
	"fauxlet/testcerts"
)

// Options say what is checked and from where.
type Options struct {
	// Cluster is the way to the apiserver, as an admin.
	Cluster *rest.Config
	// NodeIPs are addresses of this machine that the apiserver can reach. None: the one by which this machine reaches the
	// apiserver.
	NodeIPs []netip.Addr
	// NodeHostname is a name of the first of NodeIPs that the apiserver can look up. Empty: localhost, where that is on
	// loopback, or else none.
	NodeHostname string
	// ClientCA has the CAs by which the nodes know kube-apiserver: their clientCAFile. Nil: not known.
	ClientCA *x509.CertPool
	// ServingCA signs serving certificates that the apiserver is to accept. Nil: there is none.
	ServingCA *testcerts.Authority
	// ApproveServingCertificate has the cluster's own signer issue one: a CertificateSigningRequest is made and approved.
	ApproveServingCertificate bool
	// Checks are what to run. Nil: all.
	Checks []Check
	// OnResult, where it is set, gets each result as it comes, one at a time.
	OnResult func(conformance.Result)
	// OnNotice, where it is set, gets what else there is to say.
	OnNotice func(string)
	// Tool is the name and version of the program.
	Tool string
}

// container is the only container of each pod.
const container = stage.ContainerName

// run is what checks work with.
type run struct {
	options Options
	client  *kubernetes.Clientset
	config  *rest.Config
	ctx     context.Context // of all checks, for what one does for the others too
	// nodeIP is where kubelets listen; it is the first of addresses, all that they may listen on. hostname is a name by which
	// the apiserver finds it; empty: none is known.
	nodeIP    netip.Addr
	addresses []netip.Addr
	hostname  string
	objects   *stage.Stage
	// standIns is the configuration of all stand-ins, but for the name of the node.
	standIns *config.Config
	// good is the serving certificate that the apiserver is to accept, working the one that it does accept. Each is found
	// once; an error that is a [skipped] says why there is none.
	good, working func() (*tls.Certificate, error)
	// anybodys is a serving certificate for those who are not verified.
	anybodys *tls.Certificate
	// visit is one connection of the apiserver, had once.
	visit func() (visit, error)
	// soon is how long an apiserver may take for what it should do at once.
	soon time.Duration
}

// Run checks an apiserver, removes what it made there, and reports. When ctx is done it stops; what it made is
// removed before it returns, for which it takes some time of its own.
//
// With an error there is a report of the checks that came to their end, or none where nothing could be checked. That what
// was made could not be removed is no error; the report tells it.
func Run(ctx context.Context, o Options) (*conformance.Report, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	report := &conformance.Report{Tool: o.Tool, Target: r.config.Host, Started: time.Now(), Results: []conformance.Result{}}
	version, err := discovery.ToDiscoveryInterfaceWithContext(r.client.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // which says whose time was over
		}
		return nil, fmt.Errorf("the apiserver at %s: %w", r.config.Host, err)
	}
	report.TargetVersion = version.GitVersion
	if err := lacks(ctx, r.client, r.needs()); err != nil {
		return nil, err
	}
	err = r.check(ctx, report)
	report.NotRemoved = r.objects.Teardown(ctx)
	report.Duration = conformance.Seconds(time.Since(report.Started))
	return report, err
}

// check runs the checks in a namespace of the run's own.
func (r *run) check(ctx context.Context, report *conformance.Report) error {
	ctx, err := r.objects.Setup(ctx)
	if err != nil {
		return err
	}
	r.ctx = ctx
	report.Results = schedule(ctx, r.options.Checks, r.options.OnResult, func(ctx context.Context, c Check) (conformance.Result, error) { return c.run(ctx, r) })
	return context.Cause(ctx)
}

// needs are the rights that the run needs.
func (r *run) needs() []access {
	if r.options.ApproveServingCertificate {
		return slices.Concat(needed, neededToApprove)
	}
	return needed
}

func newRun(o Options) (*run, error) {
	if o.Checks == nil {
		o.Checks = Checks()
	}
	if o.OnResult == nil {
		o.OnResult = func(conformance.Result) {}
	}
	if o.OnNotice == nil {
		o.OnNotice = func(string) {}
	}
	r := &run{options: o, config: rest.CopyConfig(o.Cluster), soon: 5 * time.Second}
	r.config.QPS = -1
	at, _, err := rest.DefaultServerUrlFor(r.config)
	if err != nil {
		return nil, err
	}
	r.config.Host = at.String()
	client, err := kubernetes.NewForConfig(r.config)
	if err != nil {
		return nil, err
	}
	r.client = client
	if err := r.findAddresses(at); err != nil {
		return nil, err
	}
	anybodys, err := testcerts.SelfSigned("fauxlet-check", r.hosts())
	if err != nil {
		return nil, err
	}
	r.anybodys = ptr.To(anybodys.TLS())
	r.visit = sync.OnceValues(func() (visit, error) { return r.newVisit(r.ctx) })
	r.good = sync.OnceValues(func() (*tls.Certificate, error) { return r.newGood(r.ctx) })
	r.working = sync.OnceValues(func() (*tls.Certificate, error) { return r.newWorking(r.ctx) })
	flags := config.NewFlags()
	if err := flags.Set("hostname-override", "fauxlet-check"); err != nil {
		return nil, err
	}
	if r.standIns, err = flags.Load(); err != nil {
		return nil, err
	}
	r.objects = stage.New(client, o.OnNotice)
	return r, nil
}

// findAddresses finds where to listen.
func (r *run) findAddresses(apiserver *url.URL) error {
	r.addresses, r.hostname = r.options.NodeIPs, r.options.NodeHostname
	if len(r.addresses) == 0 {
		address, err := stage.LocalAddressFor(apiserver)
		if err != nil {
			return err
		}
		r.addresses = []netip.Addr{address}
		// On 127.0.0.1 the machine is the apiserver's, unless that is behind a forwarded port.
		if six := netip.IPv6Loopback(); address == netip.AddrFrom4([4]byte{127, 0, 0, 1}) && stage.CheckListen(six) == nil {
			r.addresses = append(r.addresses, six)
		}
	}
	for _, address := range r.addresses {
		if err := stage.CheckListen(address); err != nil {
			return err
		}
	}
	r.nodeIP = r.addresses[0]
	if r.hostname == "" && r.nodeIP.IsLoopback() {
		r.hostname = "localhost"
	}
	return nil
}
