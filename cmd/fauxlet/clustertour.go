package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/conformance/stage"
	"fauxlet/internal/admin"
	"fauxlet/internal/pods"
	"fauxlet/internal/shellword"
	"fauxlet/testcerts"
)

// clusterTour plays the scenes in a cluster: kubectl asks the kube-apiserver, which dials the stand-ins as kubelets; who has
// a token sends it to a stand-in, which has it reviewed there. The kube-apiserver stays as it is, and the kubelet is what
// varies.
type clusterTour struct {
	*guide
	kubeconfig, kubectl string
	config              *rest.Config
	client              *kubernetes.Clientset
	nodeIP              netip.Addr
	run                 *stage.Run
	// dir has files of the tour: CAs, and a serving certificate.
	dir string
	// clientCA is the file of the CAs by which kubelets know the kube-apiserver, strangerCA that of one which they do not.
	clientCA, strangerCA string
	// serving signs what a kube-apiserver that verifies is to accept; nil: there is none.
	serving     *testcerts.Authority
	servingFile string
	approve     bool // it has the cluster issue one

	// What was learned of the kube-apiserver: who it is to kubelets, and whether it verifies their certificates.
	caller   string
	verifies bool

	node   string            // that of the step before
	issued map[string]string // tokens, by their service accounts: one each, for a kubelet remembers denials by it
}

// touring is what the tour is known by in a cluster.
var touring = stage.Program{
	Name: "tour", Reason: "FauxletTour", Message: "no node: fauxlet demo --tour shows how the apiserver comes to it",
	Approved: "fauxlet demo --tour --approve-serving-certificate", Rights: true,
}

// clusterStep is a step in a cluster.
type clusterStep struct {
	// set, with and nobody are those of a step.
	set    string
	with   map[string]string
	nobody bool
	// bind lets a service account get a subresource of the node.
	bind, subresource string

	// direct is sent to the stand-in itself, with status as the answer, and says in what is told. Where it is nil kubectl
	// logs is run, with flags.
	direct *visitor
	status int
	says   string

	flags []string
	// error is a part of what kubectl says; empty: it prints the log. verified is that where the kube-apiserver verifies
	// serving certificates.
	error, verified string
	// told is a part of what the stand-in tells; in it, CALLER is who the kube-apiserver is.
	told string
}

// Whom the tour has tokens of.
const (
	prometheusAccount = "prometheus"
	viewerAccount     = "viewer"
)

// strangers stands for the file of a CA that has signed nothing of the cluster's.
const strangers = "strangers"

// newClusterTour reads what the flags name. Nothing is made yet.
func (d *demo) newClusterTour(g *guide) (*clusterTour, error) {
	c := &clusterTour{guide: g, kubeconfig: d.clusterAccess.kubeconfig, issued: map[string]string{}}
	var err error
	if c.config, err = d.clusterAccess.cluster(); err != nil {
		return nil, err
	}
	c.config.QPS = -1
	at, _, err := rest.DefaultServerUrlFor(c.config)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	if c.kubectl, err = exec.LookPath("kubectl"); err != nil {
		return nil, fmt.Errorf("--kubeconfig: the tour through a kube-apiserver is by kubectl, which is not on the PATH: %w", err)
	}
	if d.nodeIP == "" {
		if c.nodeIP, err = stage.AddressTowards(at); err != nil {
			return nil, err
		}
	} else if c.nodeIP, err = netip.ParseAddr(d.nodeIP); err != nil {
		return nil, fmt.Errorf("--node-ip: %q is not an IP address", d.nodeIP)
	}
	if err := stage.CanListen(c.nodeIP); err != nil {
		return nil, err
	}
	c.approve = d.clusterAccess.approve
	if c.serving, err = d.clusterAccess.servingAuthority(); err != nil {
		return nil, err
	}
	c.servingFile = d.clusterAccess.servingCA
	if d.clusterAccess.clientCA != "" {
		if c.clientCA, err = filepath.Abs(d.clusterAccess.clientCA); err != nil {
			return nil, err
		}
		if _, err := readPool(c.clientCA); err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
	}
	if c.strangerCA, err = filepath.Abs(g.folder.path("pki", "stranger-ca.crt")); err != nil {
		return nil, err
	}
	c.run = stage.New(c.client, touring, func(text string) { fmt.Fprintln(g.out, text) })
	g.tokens, g.access = c.client.AuthenticationV1(), c.client.AuthorizationV1()
	g.tour.tokens = c
	return c, nil
}

// intro says what is going to be made in whose cluster.
func (c *clusterTour) intro() {
	fmt.Fprintf(c.out, "They are played through the kube-apiserver at %s, by %s. The stand-ins listen on %s.\n", c.config.Host, c.kubectl, c.nodeIP)
	request := ""
	if c.approve {
		request = "; and, where serving certificates are verified, a CertificateSigningRequest for one, which it approves"
	}
	fmt.Fprintf(c.out, "It makes there, and removes at the end: the namespace %[1]s, with pods and service accounts; Nodes %[1]s-…, to which nothing\nis scheduled; ClusterRoles and ClusterRoleBindings %[1]s-…, which are about these Nodes alone%[2]s. Nothing else is touched.\n", c.run.Name(), request)
}

// begin makes the namespace, and looks what the kube-apiserver does. The context that it gives is that of the scenes. What
// was made is to be removed, also where begin fails.
func (c *clusterTour) begin(ctx context.Context) (context.Context, error) {
	var err error
	if c.dir, err = os.MkdirTemp("", "fauxlet-tour-"); err != nil {
		return ctx, err
	}
	running, err := c.run.Begin(ctx)
	if err != nil {
		return ctx, err
	}
	for _, account := range []string{prometheusAccount, viewerAccount} {
		if err := c.run.CreateAccount(running, account); err != nil {
			return ctx, err
		}
	}
	return running, c.look(running)
}

// remove removes all that was made. What it cannot remove is an error.
func (c *clusterTour) remove(ctx context.Context) error {
	os.RemoveAll(c.dir)
	if left := c.run.End(ctx); len(left) > 0 {
		return fmt.Errorf("not all that the tour has made could be removed; the next tour removes what is left: %s", strings.Join(left, ", "))
	}
	fmt.Fprintln(c.out, "\nAll that the tour has made in the cluster is removed.")
	return nil
}

// look has the kube-apiserver come to a stand-in, and learns how it comes. What would keep the scenes from ending as they
// say is an error, with its cure.
func (c *clusterTour) look(ctx context.Context) error {
	version, err := discovery.ToDiscoveryInterfaceWithContext(c.client.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		return fmt.Errorf("--kubeconfig: the apiserver at %s: %w", c.config.Host, err)
	}
	if err := c.findClientCA(ctx); err != nil {
		return err
	}
	d, said, err := c.visit(ctx, "look-1")
	if err != nil {
		return err
	}
	if d != nil && d.Handshake != "" {
		c.verifies = true
		if c.serving == nil && !c.approve {
			return fmt.Errorf("the kube-apiserver verifies serving certificates (--kubelet-certificate-authority), and the stand-ins have none that it accepts: give the CA that signs the kubelets' by --serving-ca-file and --serving-ca-key-file, or have one issued by --approve-serving-certificate. kubectl says: %s", said)
		}
		if err := c.serveAccepted(ctx); err != nil {
			return err
		}
		if d, said, err = c.visit(ctx, "look-2"); err != nil {
			return err
		}
	}
	switch {
	case d == nil:
		return fmt.Errorf("--node-ip: the kube-apiserver does not reach the stand-ins on %s: give an address of this machine that it can dial. kubectl says: %s", c.nodeIP, said)
	case d.Handshake != "":
		return fmt.Errorf("%s: the kube-apiserver does not accept what this CA has signed: --kubelet-certificate-authority is another. kubectl says: %s", cmp.Or(c.servingFile, "--approve-serving-certificate"), said)
	case d.TLS == nil || len(d.TLS.PeerCertificates) == 0:
		return errors.New("the kube-apiserver shows no client certificate, and so there is nobody to tell from a stranger: set its --kubelet-client-certificate and --kubelet-client-key; fauxlet check says which else is wrong")
	}
	return c.meet(ctx, version.GitVersion, d.TLS.PeerCertificates)
}

// findClientCA finds the CAs by which kubelets know the kube-apiserver: those that were given, or those by which the
// kube-apiserver knows its own clients, which kubeadm and others make the same.
func (c *clusterTour) findClientCA(ctx context.Context) error {
	if c.clientCA != "" {
		c.base[fieldClientCA] = strconv.Quote(c.clientCA)
		return nil
	}
	const namespace, name, key = "kube-system", "extension-apiserver-authentication", "client-ca-file"
	known, err := c.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("--client-ca: who signs the kube-apiserver's client certificate is not known: give the file that is the kubelets' clientCAFile: %w", err)
	}
	c.clientCA = filepath.Join(c.dir, "client-ca.crt")
	c.base[fieldClientCA] = strconv.Quote(c.clientCA)
	return os.WriteFile(c.clientCA, []byte(known.Data[key]), 0o644)
}

// meet judges who the kube-apiserver is to kubelets.
func (c *clusterTour) meet(ctx context.Context, version string, chain []*x509.Certificate) error {
	roots, err := readPool(c.clientCA)
	if err != nil {
		return fmt.Errorf("--client-ca: %w", err)
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("--client-ca: %s does not vouch for the kube-apiserver's client certificate %q, which %q has signed: give the file that is the kubelets' clientCAFile: %w", c.clientCA, leaf.Subject, leaf.Issuer, err)
	}
	c.caller = leaf.Subject.CommonName
	allowed, err := c.run.May(ctx, c.caller, slices.Concat(leaf.Subject.Organization, []string{"system:authenticated"}), c.node, "proxy")
	if err != nil {
		return err
	}
	if !allowed {
		return fmt.Errorf("the kube-apiserver is %[1]q to kubelets, who may not get nodes/proxy, and so all is Forbidden: kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=%[2]s", c.caller, shellword.Quote(c.caller))
	}
	verifies := "does not verify their serving certificates (no --kubelet-certificate-authority)"
	if c.verifies {
		verifies = "verifies their serving certificates (--kubelet-certificate-authority)"
	}
	fmt.Fprintln(c.out)
	c.say("Yours", fmt.Sprintf("kube-apiserver %s comes to the stand-ins as %q, by a certificate that %q has signed; it may get nodes/proxy there; and it %s.", version, c.caller, leaf.Issuer.CommonName, verifies))
	return nil
}

// serveAccepted has the stand-ins serve what the kube-apiserver accepts, from now on.
func (c *clusterTour) serveAccepted(ctx context.Context) error {
	certificate, key := filepath.Join(c.dir, "serving.crt"), filepath.Join(c.dir, "serving.key")
	hosts := []string{c.nodeIP.String(), localhost}
	c.base["tlsCertFile"], c.base["tlsPrivateKeyFile"] = strconv.Quote(certificate), strconv.Quote(key)
	if c.serving != nil {
		now := time.Now()
		pair, err := c.serving.Server(c.run.Name(), hosts, testcerts.ValidFor(now.Add(-stage.ServingLife), now.Add(stage.ServingLife)))
		if err != nil {
			return err
		}
		c.tour.ca = c.servingFile
		return pair.Write(certificate, key)
	}
	pair, err := c.run.Issue(ctx, hosts)
	if err != nil {
		return fmt.Errorf("--approve-serving-certificate: %w", err)
	}
	c.tour.ca = certificate // itself: the file of its CA is not here
	return pair.Write(certificate, key)
}

// localhost is a name that is in all serving certificates of the tour but the self-signed one.
const localhost = "localhost"

// visit has the kube-apiserver come to a stand-in which asks for a certificate, and accepts none. The Decision is nil where
// it did not come.
func (c *clusterTour) visit(ctx context.Context, suffix string) (*authchain.Decision, string, error) {
	if err := c.start(ctx, suffix, clusterStep{with: map[string]string{fieldClientCA: strangers}}); err != nil {
		return nil, "", err
	}
	_, before := c.recorder.After(0)
	_, said, err := c.logs(ctx, nil)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	d, err := c.decided(ctx, before)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, said, nil
	}
	return d, said, err
}

// start starts a stand-in, and makes it a Node with a pod.
func (c *clusterTour) start(ctx context.Context, suffix string, s clusterStep) error {
	name := c.run.Name() + "-" + suffix
	address := c.nobody
	if !s.nobody {
		with := map[string]string{}
		for field, value := range s.with {
			if value == strangers {
				value = strconv.Quote(c.strangerCA)
			}
			with[field] = value
		}
		var err error
		c.store, err = pods.NewStore(pods.Spec{Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.run.Name(), Name: name},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: stage.Container}}},
		}})
		if err != nil {
			return err
		}
		if err := c.guide.start(name, with); err != nil {
			return err
		}
		address = c.current.listeners.Secure.Addr().String()
	}
	c.node = name
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return err
	}
	status := v1.NodeStatus{Addresses: stage.EveryType(c.nodeIP.String())}
	status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	object, err := c.run.CreateNode(ctx, suffix, status)
	if err != nil {
		return err
	}
	_, err = c.run.CreatePod(ctx, object.Name)
	return err
}

// step plays a step, and says whether it ended as it should.
func (c *clusterTour) step(ctx context.Context, suffix string, s clusterStep) (bool, error) {
	fmt.Fprintln(c.out)
	if s.set != "" {
		c.say("We set", s.set)
		if err := c.start(ctx, suffix, s); err != nil {
			return false, err
		}
	}
	if s.bind != "" {
		c.say("We bind", fmt.Sprintf("the service account %s to nodes/%s, of this Node alone", s.bind, s.subresource))
		if err := c.run.Grant(ctx, s.bind, c.node, s.subresource); err != nil {
			return false, err
		}
	}
	if s.direct != nil {
		return c.sendDirect(ctx, s)
	}
	return c.sendByKubectl(ctx, s)
}

// sendDirect sends to the stand-in itself.
func (c *clusterTour) sendDirect(ctx context.Context, s clusterStep) (bool, error) {
	v := *s.direct
	v.path = strings.ReplaceAll(cmp.Or(v.path, "/containerLogs/POD/"+stage.Container+"?tailLines=1"), "POD", c.run.Name()+"/"+c.node)
	if !c.nodeIP.IsLoopback() && !c.verifies && !v.readOnly {
		v.serverName = localhost // the demo's serving certificate does not have the address
	}
	listener := c.current.listeners.Secure
	if v.readOnly {
		listener = c.current.listeners.ReadOnly
	}
	return c.sends(ctx, v, listener.Addr().String(), s.status, s.says)
}

// sendByKubectl runs kubectl logs.
func (c *clusterTour) sendByKubectl(ctx context.Context, s clusterStep) (bool, error) {
	c.say("We send", "kubectl logs, which the kube-apiserver answers by asking the kubelet")
	fmt.Fprintf(c.out, "            %s\n", c.style.paint(dim, kubectlLine(c.logsArgs(s.flags))))
	words := s.error
	if c.verifies && s.verified != "" {
		words = s.verified
	}
	if words == "" {
		c.say("Expected", "the log")
	} else {
		c.say("Expected", "an error: "+words)
	}
	_, before := c.recorder.After(0)
	printed, said, err := c.logs(ctx, s.flags)
	if err != nil {
		return false, err
	}
	ok := printed == (words == "") && strings.Contains(said, words)
	c.happened(ok, said, cmp.Or(words, "the log"))
	if s.nobody {
		return ok, nil
	}
	waiting, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	d, err := c.decided(waiting, before)
	if err != nil {
		return false, fmt.Errorf("the stand-in does not tell of the request: %w", err)
	}
	why := d.Why()
	if d.Handshake == "" {
		why = fmt.Sprintf("%d, %s", d.Status, why)
	}
	told := strings.ReplaceAll(s.told, "CALLER", strconv.Quote(c.caller))
	if words != s.error {
		told = "" // the kubelet was not asked: it was not accepted
	}
	if !strings.Contains(why, told) {
		ok, why = false, why+c.style.paint(red, " (not as expected: "+told+")")
	}
	c.say("Kubelet", why)
	return ok, nil
}

// args are those of a kubectl command in the namespace of the tour.
func (c *clusterTour) args(command ...string) []string {
	return append([]string{"--kubeconfig", c.kubeconfig, "--namespace", c.run.Name()}, command...)
}

func (c *clusterTour) logsArgs(flags []string) []string {
	return append(c.args("logs", c.node, "--tail=1"), flags...)
}

// kubectlLine is a command of kubectl as a line for a shell.
func kubectlLine(args []string) string { return shellword.Join(append([]string{"kubectl"}, args...)) }

// logs runs kubectl logs, and gives whether it printed the log, and what it printed or said.
func (c *clusterTour) logs(ctx context.Context, flags []string) (printed bool, said string, err error) {
	running, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	cmd := exec.CommandContext(running, c.kubectl, c.logsArgs(flags)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, "", ctx.Err()
	case errors.As(err, &exit):
		return false, strings.Join(strings.Fields(stderr.String()), " "), nil
	case err != nil:
		return false, "", fmt.Errorf("%s: %w", c.kubectl, err)
	}
	return stdout.Len() > 0, strings.TrimSpace(stdout.String()), nil
}

// decided waits for what the stand-in of the node tells next.
func (c *clusterTour) decided(ctx context.Context, after uint64) (*authchain.Decision, error) {
	return c.next(ctx, after, func(e *admin.Entry) bool {
		return e.Node == c.node && (e.Decision.Handshake != "" || e.Decision.Method != "")
	})
}

// token asks for one of a service account of the tour, once.
func (c *clusterTour) token(ctx context.Context, account string) (string, error) {
	if c.issued[account] == "" {
		token, err := c.run.Token(ctx, account)
		if err != nil {
			return "", err
		}
		c.issued[account] = token
	}
	return c.issued[account], nil
}

func (c *clusterTour) line(account string) string {
	return "$(" + kubectlLine(c.args("create", "token", account)) + ")"
}
