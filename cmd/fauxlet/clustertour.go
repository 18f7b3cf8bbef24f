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

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"fauxlet/authchain"
	"fauxlet/conformance/stay"
	"fauxlet/internal/shellword"
	"fauxlet/pods"
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
	stay                *stay.Stay
	// dir has files of the tour: CAs, and a serving certificate.
	dir string
	// clientCA is the file of the CAs by which kubelets know the kube-apiserver, strangerCA that of one which they do not.
	clientCA, strangerCA string
	// serving signs what a kube-apiserver that verifies is to accept; nil: there is none.
	serving     *testcerts.Authority
	servingFile string

	// What was learned of the kube-apiserver: who it is to kubelets, and whether it verifies their certificates.
	caller   string
	verifies bool

	node   string            // that of the step before
	issued map[string]string // tokens, by their service accounts: one each, for a kubelet remembers denials by it
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
	c := &clusterTour{guide: g, kubeconfig: d.kubeconfig, issued: map[string]string{}}
	var err error
	if c.config, err = clusterOf(d.kubeconfig); err != nil {
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
		if c.nodeIP, err = stay.AddressTowards(at); err != nil {
			return nil, err
		}
	} else if c.nodeIP, err = netip.ParseAddr(d.nodeIP); err != nil {
		return nil, fmt.Errorf("--node-ip: %q is not an IP address", d.nodeIP)
	}
	if err := stay.CanListen(c.nodeIP); err != nil {
		return nil, err
	}
	if d.servingCA != "" {
		if c.serving, err = testcerts.LoadAuthority(d.servingCA, d.servingCAKey); err != nil {
			return nil, fmt.Errorf("--serving-ca-file: %w", err)
		}
		c.servingFile = d.servingCA
	}
	if d.clientCA != "" {
		if c.clientCA, err = filepath.Abs(d.clientCA); err != nil {
			return nil, err
		}
		if _, err := poolOf(c.clientCA); err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
	}
	if c.strangerCA, err = filepath.Abs(g.folder.path("pki", "stranger-ca.crt")); err != nil {
		return nil, err
	}
	c.stay = stay.New(c.client, stay.Program{Name: "tour", Does: "fauxlet demo --tour shows how a kubelet is reached", Binds: true}, func(text string) { fmt.Fprintln(g.out, text) })
	g.tokens, g.access = c.client.AuthenticationV1(), c.client.AuthorizationV1()
	g.tour.tokens = c
	return c, nil
}

// poolOf reads the CAs of a file.
func poolOf(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: no certificate is in it; it is a PEM file", file)
	}
	return pool, nil
}

// intro says what is going to be made in whose cluster.
func (c *clusterTour) intro() {
	fmt.Fprintf(c.out, "They are played through the kube-apiserver at %s, by %s. The stand-ins listen on %s.\n", c.config.Host, c.kubectl, c.nodeIP)
	fmt.Fprintf(c.out, "It makes there, and removes at the end: the namespace %[1]s, with pods and service accounts; Nodes %[1]s-…, to which nothing\nis scheduled; ClusterRoles and ClusterRoleBindings %[1]s-…, which are about these Nodes alone. Nothing else is touched.\n", c.stay.Name())
}

// begin makes the namespace, and looks what the kube-apiserver does. end is to be called when the scenes are over.
func (c *clusterTour) begin(ctx context.Context) (running context.Context, end func(), err error) {
	if c.dir, err = os.MkdirTemp("", "fauxlet-tour-"); err != nil {
		return nil, nil, err
	}
	running, leave, err := c.stay.Begin(ctx)
	end = func() {
		if leave != nil {
			leave()
		}
		os.RemoveAll(c.dir)
	}
	if err != nil {
		return nil, end, err
	}
	for _, account := range []string{prometheusAccount, viewerAccount} {
		if err := c.stay.Account(running, account); err != nil {
			return nil, end, err
		}
	}
	if err := c.look(running); err != nil {
		return nil, end, err
	}
	return running, end, nil
}

// remove removes all that was made. What it cannot remove is an error.
func (c *clusterTour) remove(ctx context.Context) error {
	if left := c.stay.Remove(ctx); len(left) > 0 {
		return fmt.Errorf("not all that the tour has made could be removed; the next tour removes what is left: %s", strings.Join(left, ", "))
	}
	fmt.Fprintln(c.out, "\nAll that the tour has made in the cluster is removed.")
	return nil
}

// look has the kube-apiserver come to a stand-in, and learns how it comes. What would keep the scenes from ending as they
// say is an error, with its cure.
func (c *clusterTour) look(ctx context.Context) error {
	version, err := c.client.Discovery().ServerVersion()
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
		if c.serving == nil {
			return fmt.Errorf("the kube-apiserver verifies serving certificates (--kubelet-certificate-authority), and the stand-ins have none that it accepts: give the CA that signs the kubelets' by --serving-ca-file and --serving-ca-key-file. kubectl says: %s", said)
		}
		if err := c.serveAccepted(); err != nil {
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
		return fmt.Errorf("--serving-ca-file: %s: the kube-apiserver does not accept what this CA has signed: --kubelet-certificate-authority is another. kubectl says: %s", c.servingFile, said)
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
	roots, err := poolOf(c.clientCA)
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
	allowed, err := c.may(ctx, c.caller, slices.Concat(leaf.Subject.Organization, []string{"system:authenticated"}), "proxy", c.node)
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
func (c *clusterTour) serveAccepted() error {
	now := time.Now()
	pair, err := c.serving.Server(c.stay.Name(), []string{c.nodeIP.String(), localhost}, testcerts.ValidFor(now.Add(-time.Hour), now.Add(24*time.Hour)))
	if err != nil {
		return err
	}
	certificate, key := filepath.Join(c.dir, "serving.crt"), filepath.Join(c.dir, "serving.key")
	if err := pair.Write(certificate, key); err != nil {
		return err
	}
	c.base["tlsCertFile"], c.base["tlsPrivateKeyFile"] = strconv.Quote(certificate), strconv.Quote(key)
	c.tour.ca = c.servingFile
	return nil
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
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d, err := c.decided(ctx, before)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, said, nil
	}
	return d, said, err
}

// start starts a stand-in, and makes it a Node with a pod.
func (c *clusterTour) start(ctx context.Context, suffix string, s clusterStep) error {
	name := c.stay.Name() + "-" + suffix
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
			ObjectMeta: metav1.ObjectMeta{Namespace: c.stay.Name(), Name: name},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: stay.Container}}},
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
	status := v1.NodeStatus{Addresses: stay.EveryType(c.nodeIP.String())}
	status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	object, err := c.stay.Node(ctx, suffix, status)
	if err != nil {
		return err
	}
	_, err = c.stay.Pod(ctx, object.Name)
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
		if err := c.bind(ctx, suffix, s.bind, s.subresource); err != nil {
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
	v.path = strings.ReplaceAll(cmp.Or(v.path, "/containerLogs/POD/"+stay.Container+"?tailLines=1"), "POD", c.stay.Name()+"/"+c.node)
	if !c.nodeIP.IsLoopback() && c.tour.ca != c.servingFile && !v.readOnly {
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
	fmt.Fprintf(c.out, "            %s\n", c.style.paint(dim, shellword.Join(append([]string{"kubectl"}, c.logsArgs(s.flags)...))))
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

func (c *clusterTour) logsArgs(flags []string) []string {
	return append([]string{"--kubeconfig", c.kubeconfig, "--namespace", c.stay.Name(), "logs", c.node, "--tail=1"}, flags...)
}

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
	follower := c.recorder.Follow(after)
	defer follower.Close()
	for {
		entries, _, err := follower.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Node == c.node && (e.Decision.Handshake != "" || e.Decision.Method != "") {
				return e.Decision, nil
			}
		}
	}
}

// bind lets a service account get a subresource of the node, and waits until the kube-apiserver acts on it.
func (c *clusterTour) bind(ctx context.Context, suffix, account, subresource string) error {
	err := c.stay.Bind(ctx, suffix, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"nodes/" + subresource}, ResourceNames: []string{c.node}, Verbs: []string{"get", "create"},
	}, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: c.stay.Name(), Name: account})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	user, groups := "system:serviceaccount:"+c.stay.Name()+":"+account, []string{"system:serviceaccounts", "system:serviceaccounts:" + c.stay.Name(), "system:authenticated"}
	for {
		allowed, err := c.may(ctx, user, groups, subresource, c.node)
		if err != nil || allowed {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the kube-apiserver does not act on the binding of %s: %w", user, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// may asks the kube-apiserver whether somebody may get a subresource of a node, as a kubelet would.
func (c *clusterTour) may(ctx context.Context, user string, groups []string, subresource, node string) (bool, error) {
	answer, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: subresource, Name: node},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

// tokenLife is how long the tokens of the tour are good for.
const tokenLife = time.Hour

// token asks for one of a service account of the tour.
func (c *clusterTour) token(ctx context.Context, account string) (string, error) {
	if token := c.issued[account]; token != "" {
		return token, nil
	}
	answer, err := c.client.CoreV1().ServiceAccounts(c.stay.Name()).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLife / time.Second))},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	c.issued[account] = answer.Status.Token
	return answer.Status.Token, nil
}

func (c *clusterTour) line(account string) string {
	return "$(" + shellword.Join([]string{"kubectl", "--kubeconfig", c.kubeconfig, "--namespace", c.stay.Name(), "create", "token", account}) + ")"
}
