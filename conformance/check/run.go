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

	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/conformance"
	"fauxlet/conformance/stage"
	"fauxlet/testcerts"
)

// Options configure a run. Cluster is required.
type Options struct {
	// Cluster is the client configuration for the kube-apiserver, with an administrator's credential.
	Cluster *rest.Config
	// ClusterOrigin describes where Cluster comes from, for a progress message. May be empty.
	ClusterOrigin string
	// NodeIPs are addresses of this machine that the kube-apiserver can reach. The default is the local address of a
	// connection to the kube-apiserver.
	NodeIPs []netip.Addr
	// NodeHostname is a host name that the kube-apiserver resolves to the first of NodeIPs. The default is localhost
	// for a loopback address, otherwise none.
	NodeHostname string
	// ClientCA has the certificates of the kubelets' clientCAFile. The default is the CAs for clients that the cluster
	// publishes.
	ClientCA *x509.CertPool
	// ServingCA is a CA that signs serving certificates which the kube-apiserver accepts. May be nil.
	ServingCA *testcerts.Authority
	// If ApproveServingCertificate is true, the run creates a CertificateSigningRequest for a serving certificate, and
	// approves it. Then the cluster's signer issues the certificate.
	ApproveServingCertificate bool
	// ApproverWait is the maximum time that the checks of CSR approvers wait for answers. The default is
	// DefaultApproverWait. The checks wait for the whole time unless all requests are answered before.
	ApproverWait time.Duration
	// Checks are the checks to run. The default is the checks that Select returns if nothing is selected.
	Checks []Check
	// OnResult, if set, is called with each result. Calls do not overlap.
	OnResult func(conformance.Result)
	// OnNotice, if set, is called with progress messages.
	OnNotice func(string)
	// Tool is the name and version of the program that runs the checks, for the report.
	Tool string
}

// container is the name of the only container of each pod.
const container = stage.ContainerName

// run is the state of one run, which all checks share.
type run struct {
	options   Options
	client    *kubernetes.Clientset
	config    *rest.Config
	ctx       context.Context // the context of the whole run, for results that several checks share
	nodeIP    netip.Addr      // the first of the addresses
	addresses []netip.Addr    // the local addresses for kubelets
	hostname  string          // a name that the kube-apiserver resolves to nodeIP; may be empty
	objects   *stage.Stage
	standIns  *config.Config // the configuration of all stand-in kubelets, without a node name
	// The function "trusted" returns a serving certificate that the kube-apiserver should accept. The function
	// "accepted" returns a serving certificate that it has accepted. Later calls return the same results. If there is
	// no such certificate, the error has the type [skipped].
	trusted, accepted func() (*tls.Certificate, error)
	// selfSigned is a serving certificate for checks in which the kube-apiserver does not verify the kubelet's
	// certificate.
	selfSigned *tls.Certificate
	// firstConnection makes the kube-apiserver connect to a kubelet. Later calls return the same result.
	firstConnection func() (dialed, error)
	// approverAnswers makes requests for serving certificates and waits for answers. Later calls return the same
	// results.
	approverAnswers func() (*approverAnswers, error)
	// soon is the time limit for actions that a kube-apiserver should perform immediately.
	soon time.Duration
}

// Run runs the checks until ctx is done, deletes the objects that it created, and returns a report. The deletion has a
// separate timeout.
//
// If Run returns an error, the report contains the checks that completed, or is nil if no check could run. Objects that
// could not be deleted are listed in the report and are no error.
func Run(ctx context.Context, o Options) (*conformance.Report, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	report := &conformance.Report{Tool: o.Tool, Target: r.config.Host, Started: time.Now(),
		Results: []conformance.Result{}}
	version, err := discovery.ToDiscoveryInterfaceWithContext(r.client.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the text of the cause contains the timeout, the text of err does not
		}
		return nil, fmt.Errorf("kube-apiserver at %s: %w", r.config.Host, err)
	}
	report.TargetVersion = version.GitVersion
	if o.ClusterOrigin != "" {
		r.options.OnNotice(fmt.Sprintf("checking kube-apiserver at %s, from %s", r.config.Host, o.ClusterOrigin))
	}
	requirements := required
	if o.ApproveServingCertificate {
		requirements = slices.Concat(requirements, requiredToApprove)
	}
	if slices.ContainsFunc(r.options.Checks, func(c Check) bool { return c.onRequest }) {
		requirements = slices.Concat(requirements, requiredForApprovers(r.objects.NodeName(requesterNode)))
	}
	if err := checkRequirements(ctx, r.client, requirements); err != nil {
		return nil, err
	}
	if ctx, err = r.objects.Setup(ctx); err == nil {
		r.ctx = ctx
		checks := slices.Clone(r.options.Checks)
		for i := range checks {
			checks[i].run = checks[i].unlessOlder(report.TargetVersion, unlessLost(checks[i].run))
		}
		report.Results = schedule(ctx, r, checks, r.options.OnResult)
		err = context.Cause(ctx)
	}
	report.NotRemoved = r.objects.Teardown(ctx)
	report.Duration = conformance.Seconds(time.Since(report.Started))
	return report, err
}

func newRun(o Options) (*run, error) {
	if o.Checks == nil {
		o.Checks, _ = Select(Checks(), nil)
	}
	if o.ApproverWait == 0 {
		o.ApproverWait = DefaultApproverWait
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
	selfSigned, err := testcerts.SelfSigned("", r.hosts(), testcerts.ForNode("fauxlet-check"))
	if err != nil {
		return nil, err
	}
	r.selfSigned = ptr.To(selfSigned.TLS())
	r.firstConnection = sync.OnceValues(func() (dialed, error) { return r.newFirstConnection(r.ctx) })
	r.approverAnswers = sync.OnceValues(func() (*approverAnswers, error) { return r.newApproverAnswers(r.ctx) })
	r.trusted = sync.OnceValues(func() (*tls.Certificate, error) { return r.newTrusted(r.ctx) })
	r.accepted = sync.OnceValues(func() (*tls.Certificate, error) { return r.newAccepted(r.ctx) })
	flags := config.NewFlags()
	if err := flags.Set("hostname-override", "fauxlet-check"); err != nil {
		return nil, err
	}
	if r.standIns, err = flags.Load(); err != nil {
		return nil, err
	}
	r.objects, err = stage.New(r.config, client, o.OnNotice)
	return r, err
}

// findAddresses determines the local addresses and the host name.
func (r *run) findAddresses(apiserver *url.URL) error {
	r.addresses, r.hostname = r.options.NodeIPs, r.options.NodeHostname
	if len(r.addresses) == 0 {
		address, err := stage.LocalAddressFor(apiserver)
		if err != nil {
			return err
		}
		r.addresses = []netip.Addr{address}
		// A kube-apiserver with the address 127.0.0.1 probably runs on this machine and can also connect to ::1.
		if six := netip.IPv6Loopback(); address == netip.AddrFrom4([4]byte{127, 0, 0, 1}) &&
			stage.CheckListen(six) == nil {
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

// unlessOlder returns the given run function of the check. If a kube-apiserver of the version does not have what the
// check is about, unlessOlder returns a run function of a check that does not apply. A version that cannot be read
// counts as the newest.
func (c Check) unlessOlder(version string, check runFunc) runFunc {
	target, err := utilversion.ParseSemantic(version)
	if err != nil || c.Since == "" || target.Major() == 0 || // a build without a version is v0.0.0
		utilversion.MajorMinor(target.Major(), target.Minor()).AtLeast(utilversion.MustParseGeneric(c.Since)) {
		return check
	}
	return func(context.Context, *run, *finding) error {
		return notApplicable(fmt.Sprintf("this check is about a feature that kube-apiserver has since %s; this "+
			"one is %s", c.Since, version))
	}
}

// unlessLost wraps the run function of a check. If the check has failed, unlessLost tests whether kube-apiserver still
// accepts connections. If it refuses them, the check's problem may only be a consequence of this. Then the returned run
// function returns an error, so the check does not count as failed.
func unlessLost(check func(context.Context, *run, *finding) error) func(context.Context, *run, *finding) error {
	return func(ctx context.Context, r *run, f *finding) error {
		err := check(ctx, r, f)
		if f.verdict != conformance.Fail {
			return err
		}
		_, lost := r.otherRequest(ctx)
		if !utilnet.IsConnectionRefused(lost) {
			return err
		}
		problem := f.problems[0]
		f.problems = nil
		return fmt.Errorf("%s; afterwards kube-apiserver refused connections, which may be the only problem: %w",
			problem, lost)
	}
}
