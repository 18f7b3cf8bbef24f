package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// The checks of the group "approver" examine the program that approves the CertificateSigningRequests of kubelets with
// serverTLSBootstrap. kube-controller-manager approves no request for a serving certificate, so this program is another
// controller, or a person. (k8s.io/kubernetes: pkg/controller/certificates/approver)
//
// All checks share one attempt: the run creates one correct request and one for each mistake, and waits for answers.
// The requests are made as a Node of the run, by impersonation. Their private keys are never stored, so a certificate
// that the cluster issues for them is useless.
const approverGroup = "approver"

// DefaultApproverWait is the default of [Options.ApproverWait].
const DefaultApproverWait = 20 * time.Second

// The run's Nodes for these checks have these suffixes. The first Node makes the requests.
const (
	requesterNode = "approver"
	victimNode    = "approver-victim"
)

// approverTrial is one request and the check of its answer.
type approverTrial struct {
	name   string // the ID of the check without the group, and the suffix of the object's name
	title  string
	proves string
	// change makes a correct request wrong in exactly one way. It is nil for the correct request.
	change func(*certificateRequest, *run)
	// danger is what an approver makes possible by approving the request, and rule is what it must do instead.
	danger, rule string
}

// certificateRequest is the content of a CertificateSigningRequest.
type certificateRequest struct {
	x509.CertificateRequest
	signer string
	usages []certificatesv1.KeyUsage
	// If asOperator is true, the request is made with the run's own credential instead of a node's.
	asOperator bool
}

// correctRequest is the name of the only request that an approver must approve.
const correctRequest = "correct"

var approverTrials = []approverTrial{
	{name: correctRequest, title: "a node's correct serving certificate request is approved and signed",
		proves: "A request of a node for a serving certificate with its own name and the addresses in its Node is " +
			"approved, and the issued certificate is what was requested. If nothing answers, the result is a " +
			"warning: requests may be approved by hand, as in a cluster of kubeadm, and the other checks do not " +
			"apply."},
	{name: "other-node", title: "a request with another node's name is not approved",
		proves: "The common name is `system:node:` and the name of another node. With the admission plugin " +
			"NodeRestriction, kube-apiserver refuses such a request.",
		change: func(c *certificateRequest, r *run) {
			c.Subject.CommonName = nodeUserPrefix + r.objects.NodeName(victimNode)
		},
		danger: "a node can get a serving certificate with the name of another node, and impersonate it",
		rule:   "compare the common name with spec.username"},
	{name: "foreign-address", title: "a request with an address of another machine is not approved",
		proves: "One of the IP addresses, 192.0.2.1, is not an address of the Node.",
		change: func(c *certificateRequest, _ *run) {
			c.IPAddresses = append(c.IPAddresses, net.IPv4(192, 0, 2, 1).To4())
		},
		danger: "a node can get a serving certificate for the address of any machine, and impersonate it",
		rule:   "compare the IP addresses with those of the node's machine, from a source that a node cannot change"},
	{name: "foreign-name", title: "a request with the host name of another node is not approved",
		proves: "One of the DNS names is the name of another Node.",
		change: func(c *certificateRequest, r *run) {
			c.DNSNames = append(c.DNSNames, r.objects.NodeName(victimNode))
		},
		danger: "a node can get a serving certificate for the host name of any machine, and impersonate it",
		rule:   "compare the DNS names with those of the node's machine, from a source that a node cannot change"},
	{name: "apiserver-name", title: "a request with kube-apiserver's names is not approved",
		proves: "Four DNS names are those of the Service `kubernetes`, such as kubernetes.default.svc.",
		change: func(c *certificateRequest, _ *run) {
			const service = "kubernetes.default.svc"
			c.DNSNames = append(c.DNSNames, "kubernetes", "kubernetes.default", service, service+".cluster.local")
		},
		danger: "a node can get a serving certificate with kube-apiserver's names, and impersonate it to pods and " +
			"clients that trust the signer",
		rule: "compare the DNS names with those of the node's machine, from a source that a node cannot change"},
	{name: "email", title: "a request with an e-mail address is not approved",
		proves: "One of the subject alternative names is an e-mail address. Kubernetes allows none in a kubelet's " +
			"serving certificate.",
		change: func(c *certificateRequest, _ *run) { c.EmailAddresses = []string{"admin@fauxlet-check.invalid"} },
		danger: "a node can request a certificate with an e-mail address, which only the signer can still refuse",
		rule:   "refuse e-mail addresses"},
	{name: "uri", title: "a request with a URI is not approved",
		proves: "One of the subject alternative names is a URI, as in a SPIFFE identity. Kubernetes allows none in a " +
			"kubelet's serving certificate.",
		change: func(c *certificateRequest, _ *run) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "fauxlet-check.invalid", Path: "/admin"}}
		},
		danger: "a node can request a certificate with a URI, such as the SPIFFE identity of another program, which " +
			"only the signer can still refuse",
		rule: "refuse URIs"},
	{name: "usages", title: "a request for client authentication is not approved",
		proves: "The usages are digital signature, server auth and client auth. A serving certificate must not be " +
			"for clients.",
		change: func(c *certificateRequest, _ *run) { c.usages = append(c.usages, certificatesv1.UsageClientAuth) },
		danger: "a node can request a serving certificate that is also a client certificate, which only the signer " +
			"can still refuse",
		rule: "allow only the usages digital signature, key encipherment and server auth"},
	{name: "organization", title: "a request with the organization system:masters is not approved",
		proves: "The organizations are system:nodes and system:masters. Only system:nodes is allowed.",
		change: func(c *certificateRequest, _ *run) {
			c.Subject.Organization = append(c.Subject.Organization, "system:masters")
		},
		danger: "a node can request a certificate with the group of administrators, which only the signer can still " +
			"refuse",
		rule: "allow only the organization system:nodes"},
	{name: "requester", title: "a request of a user that is not a node is not approved",
		proves: "The content of the request is correct, but the user that created it is the one in --kubeconfig.",
		change: func(c *certificateRequest, _ *run) { c.asOperator = true },
		danger: "a user who may create CertificateSigningRequests can get the serving certificate of any node, and " +
			"impersonate it",
		rule: "compare spec.username with the common name, and require system:nodes in spec.groups"},
	{name: "signer", title: "a request to another signer is not approved",
		proves: "The signer is kubernetes.io/kube-apiserver-client, which signs certificates for clients of " +
			"kube-apiserver.",
		change: func(c *certificateRequest, _ *run) { c.signer = certificatesv1.KubeAPIServerClientSignerName },
		danger: "a node can get certificates from other signers",
		rule:   "approve only requests with the signer " + certificatesv1.KubeletServingSignerName},
}

// nodeUserPrefix begins the user name of each node.
const nodeUserPrefix = "system:node:"

// nodesGroup is the group of all nodes.
const nodesGroup = "system:nodes"

func approverChecks() []Check {
	var all []Check
	for _, t := range approverTrials {
		c := Check{ID: approverGroup + "." + t.name, Title: t.title, Proves: t.proves, Flag: "CSR approver",
			Needs: []string{}, onRequest: true}
		judge := judgeCorrect
		if t.change != nil {
			judge = func(f *finding, a *approverAnswers) error { return t.judge(f, a) }
			c.remedy = "# the approver must " + t.rule + "; stop it until it does, and approve by hand: " +
				"kubectl get csr; kubectl certificate approve NAME"
		}
		c.run = func(_ context.Context, r *run, f *finding) error {
			answers, err := r.approverAnswers()
			if err != nil {
				return err
			}
			return judge(f, answers)
		}
		all = append(all, c)
	}
	return all
}

// requiredForApprovers are the additional permissions for the checks of CSR approvers. The user is a node of the run.
func requiredForApprovers(node string) []requirement {
	return []requirement{
		{"certificates.k8s.io", "certificatesigningrequests", []string{"create", "watch"}, ""},
		{"", "users", []string{"impersonate"}, nodeUserPrefix + node},
		{"", "groups", []string{"impersonate"}, nodesGroup},
	}
}

// approverAnswers are the requests of a run, after the run has waited for answers.
type approverAnswers struct {
	wait     time.Duration
	requests map[string]*approverAnswer // the keys are the names of approverTrials
	// issuedToOther is the name of another node's request that has a certificate. It is set only if the correct request
	// was approved and has none.
	issuedToOther string
}

// approverAnswer is the answer to one request.
type approverAnswer struct {
	content *certificateRequest
	object  *certificatesv1.CertificateSigningRequest // nil if it was not created, or was deleted
	// refused is kube-apiserver's error if it refused to create the request because of its content. incomplete is
	// another error, after which nothing is known about the approver.
	refused, incomplete error
}

// condition returns the condition with the given type, or nil.
func (a *approverAnswer) condition(
	t certificatesv1.RequestConditionType,
) *certificatesv1.CertificateSigningRequestCondition {
	if a.object == nil {
		return nil
	}
	for i, c := range a.object.Status.Conditions {
		if c.Type == t && c.Status == v1.ConditionTrue {
			return &a.object.Status.Conditions[i]
		}
	}
	return nil
}

func (a *approverAnswer) approved() bool {
	return a.condition(certificatesv1.CertificateApproved) != nil
}

func (a *approverAnswer) answered() bool {
	return a.approved() || a.condition(certificatesv1.CertificateDenied) != nil
}

// settled reports whether nothing more is expected to happen to the request.
func (a *approverAnswer) settled() bool {
	return a.object == nil || a.condition(certificatesv1.CertificateDenied) != nil ||
		a.approved() && (len(a.object.Status.Certificate) > 0 || a.condition(certificatesv1.CertificateFailed) != nil)
}

// all reports whether the given function is true for each answer.
func (a *approverAnswers) all(is func(*approverAnswer) bool) bool {
	for _, answer := range a.requests {
		if !is(answer) {
			return false
		}
	}
	return true
}

// newApproverAnswers creates the Nodes and the requests, and waits for the answers.
func (r *run) newApproverAnswers(ctx context.Context) (*approverAnswers, error) {
	for suffix, addresses := range map[string][]v1.NodeAddress{
		requesterNode: {{Type: v1.NodeInternalIP, Address: r.nodeIP.String()},
			{Type: v1.NodeHostName, Address: r.objects.NodeName(requesterNode)}},
		victimNode: nil,
	} {
		if _, err := r.objects.CreateNode(ctx, suffix, v1.NodeStatus{Addresses: addresses}); err != nil {
			return nil, err
		}
	}
	config := rest.CopyConfig(r.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: nodeUserPrefix + r.objects.NodeName(requesterNode),
		Groups: []string{nodesGroup}}
	asNode, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	answers := &approverAnswers{wait: r.options.ApproverWait, requests: map[string]*approverAnswer{}}
	for _, t := range approverTrials {
		a, err := r.requestCertificate(ctx, asNode, t)
		if err != nil {
			return nil, err
		}
		if t.name == correctRequest && a.refused != nil {
			// The other requests could be refused for the same reason.
			return nil, skipped("kube-apiserver does not let a node create a CertificateSigningRequest: " +
				a.refused.Error())
		}
		answers.requests[t.name] = a
	}
	r.options.OnNotice(fmt.Sprintf("waiting up to %v for the answers to %d CertificateSigningRequests", answers.wait,
		len(answers.requests)))
	if err := r.watchApprover(ctx, answers, answers.wait, (*approverAnswer).settled); err != nil {
		return nil, err
	}
	// The signer may need a moment for a request that was approved at the end.
	err = r.watchApprover(ctx, answers, r.soon, func(a *approverAnswer) bool { return !a.approved() || a.settled() })
	if err != nil {
		return nil, err
	}
	if answers.requests[correctRequest].notIssued() != nil {
		answers.issuedToOther, err = r.issuedToOther(ctx)
	}
	return answers, err
}

// notIssued returns an error if the request was approved, but the signer issued no certificate.
func (a *approverAnswer) notIssued() error {
	failed := a.condition(certificatesv1.CertificateFailed)
	switch {
	case a.incomplete != nil || !a.approved():
	case failed != nil:
		return fmt.Errorf("the request was approved, but the signer refused it: %s: %s", failed.Reason, failed.Message)
	case len(a.object.Status.Certificate) == 0:
		return errors.New("the request was approved, but no certificate was issued")
	}
	return nil
}

// requestCertificate creates one request. Errors that concern only this request are in the answer.
func (r *run) requestCertificate(
	ctx context.Context, asNode kubernetes.Interface, t approverTrial,
) (*approverAnswer, error) {
	a := &approverAnswer{content: r.requestFor(t)}
	request, err := a.content.sign()
	if err != nil {
		return nil, err
	}
	var client kubernetes.Interface = r.client
	if !a.content.asOperator {
		client = asNode
	}
	a.object, err = r.objects.CreateRequest(ctx, client, r.objects.NodeName(requesterNode+"-"+t.name),
		certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: a.content.signer,
			Usages: a.content.usages})
	switch {
	case err == nil:
		return a, nil
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		a.refused = err
	default:
		a.incomplete = fmt.Errorf("cannot create the CertificateSigningRequest: %w", err)
	}
	a.object = nil
	return a, nil
}

// requestFor returns the content of a request. A correct one is what a kubelet requests. (k8s.io/kubernetes:
// pkg/kubelet/certificate/kubelet.go; the rules are in pkg/apis/certificates/helpers.go)
func (r *run) requestFor(t approverTrial) *certificateRequest {
	node := r.objects.NodeName(requesterNode)
	c := &certificateRequest{
		signer: certificatesv1.KubeletServingSignerName,
		usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		CertificateRequest: x509.CertificateRequest{
			Subject:     pkix.Name{CommonName: nodeUserPrefix + node, Organization: []string{nodesGroup}},
			DNSNames:    []string{node},
			IPAddresses: []net.IP{r.nodeIP.AsSlice()},
		},
	}
	if t.change != nil {
		t.change(c, r)
	}
	return c
}

// sign returns the request in PEM, signed with a new private key. The key is not kept. sign sets the public key.
func (c *certificateRequest) sign() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.PublicKey = key.Public()
	der, err := x509.CreateCertificateRequest(rand.Reader, &c.CertificateRequest, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// watchApprover watches the requests until the given function is true for each of them, at most for the given time.
// Then it stores their last states.
func (r *run) watchApprover(
	ctx context.Context, answers *approverAnswers, limit time.Duration, done func(*approverAnswer) bool,
) error {
	byName := map[string]*approverAnswer{}
	for _, a := range answers.requests {
		if a.object != nil {
			byName[a.object.Name] = a
		}
	}
	requests := r.client.CertificatesV1().CertificateSigningRequests()
	selected := metav1.ListOptions{LabelSelector: r.objects.Selector()}
	listWatch := cache.NewFilteredListWatchFromClient(r.client.CertificatesV1().RESTClient(),
		"certificatesigningrequests", metav1.NamespaceAll, func(o *metav1.ListOptions) {
			o.LabelSelector = selected.LabelSelector
		})
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := watchtools.UntilWithSync(limited, listWatch, &certificatesv1.CertificateSigningRequest{}, nil,
		func(e watch.Event) (bool, error) {
			object, ok := e.Object.(*certificatesv1.CertificateSigningRequest)
			if a := byName[object.GetName()]; ok && a != nil {
				a.object = object
			}
			return answers.all(done), nil
		})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && !wait.Interrupted(err) {
		return err
	}
	// If the watch was interrupted, the states that it reported may be old.
	ctx, cancel = context.WithTimeout(ctx, r.soon)
	defer cancel()
	list, err := requests.List(ctx, selected)
	if err != nil {
		return err
	}
	for name, a := range byName {
		i := slices.IndexFunc(list.Items, func(o certificatesv1.CertificateSigningRequest) bool {
			return o.Name == name
		})
		if i < 0 {
			a.object, a.incomplete = nil, fmt.Errorf("the CertificateSigningRequest %s was deleted", name)
			continue
		}
		a.object = &list.Items[i]
	}
	return nil
}

// describe adds the request and its answer to the evidence.
func (a *approverAnswer) describe(f *finding) {
	c := a.content
	var names []string
	for _, list := range []struct {
		kind   string
		values []string
	}{{"DNS", c.DNSNames}, {"IP", texts(c.IPAddresses)}, {"email", c.EmailAddresses}, {"URI", texts(c.URIs)}} {
		for _, value := range list.values {
			names = append(names, list.kind+":"+value)
		}
	}
	f.note("subject: %s", c.Subject)
	f.note("names: %s", strings.Join(names, ", "))
	f.note("usages: %s; signer: %s", strings.Join(stringsOf(c.usages), ", "), c.signer)
	if a.refused != nil {
		f.note("kube-apiserver refused to create it: %v", a.refused)
	}
	if a.object == nil {
		return
	}
	f.note("created by: %s", a.object.Spec.Username)
	for _, condition := range a.object.Status.Conditions {
		f.note("%s: %s: %s", strings.ToLower(string(condition.Type)), condition.Reason, condition.Message)
	}
	for _, field := range a.object.ManagedFields {
		if field.Subresource == "approval" {
			f.note("answered by the program %q (in metadata.managedFields)", field.Manager)
		}
	}
	if a.approved() {
		f.note("certificate issued: %v", len(a.object.Status.Certificate) > 0)
	}
}

func texts[T fmt.Stringer](all []T) []string {
	var texts []string
	for _, one := range all {
		texts = append(texts, one.String())
	}
	return texts
}

func stringsOf[T ~string](all []T) []string {
	var texts []string
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return texts
}

// judge is the verdict about a request that must not be approved.
func (t approverTrial) judge(f *finding, answers *approverAnswers) error {
	a := answers.requests[t.name]
	a.describe(f)
	switch {
	case a.incomplete != nil:
		return a.incomplete
	case a.approved():
		return f.fail("the request was approved: %s", t.danger)
	case a.refused != nil, a.answered():
		return nil
	case answers.all(func(a *approverAnswer) bool { return !a.answered() }):
		return notApplicable(fmt.Sprintf("no approver answered a request within %v", answers.wait))
	}
	f.note("not answered within %v, but other requests were", answers.wait)
	return nil
}

// judgeCorrect is the verdict about the request that must be approved.
func judgeCorrect(f *finding, answers *approverAnswers) error {
	a := answers.requests[correctRequest]
	a.describe(f)
	f.remedy = "# change the approver's rules. The node's name begins with fauxlet-check-, is in no DNS, and its " +
		"address is the first --node-ip; if a rule excludes such nodes on purpose, the other checks still hold"
	switch denied := a.condition(certificatesv1.CertificateDenied); {
	case a.incomplete != nil:
		return a.incomplete
	case denied != nil:
		return f.fail("the correct request of a node was denied: %s: %s", denied.Reason, denied.Message)
	case a.notIssued() != nil && answers.issuedToOther != "":
		return onlyOthers{a.notIssued(), answers.issuedToOther}.warn(f)
	case a.notIssued() != nil:
		f.flag, f.remedy = signerFlag, signerRemedy
		return f.fail("%v; kubelets with serverTLSBootstrap will not get one either", a.notIssued())
	case a.approved():
		different, err := a.content.differences(a.object.Status.Certificate)
		if err == nil && len(different) == 0 {
			return nil
		}
		f.flag = signerFlag
		f.remedy = "# find out which program signs for " + certificatesv1.KubeletServingSignerName + "; the " +
			"certificate must have the names, the usages and the key of the request"
		if err != nil {
			return f.fail("the signer issued no valid certificate: %v", err)
		}
		return f.fail("the issued certificate is not what was requested: %s", strings.Join(different, "; "))
	case !answers.all(func(a *approverAnswer) bool { return !a.answered() }):
		return f.fail("the correct request of a node was not approved within %v, although others were answered",
			answers.wait)
	}
	f.remedy = "kubectl get csr # and for each correct request: kubectl certificate approve NAME. If there is an " +
		"approver that needs more time, give check --approver-wait"
	return f.warn("no approver answered within %v: serving certificates are approved by hand, as in a cluster of "+
		"kubeadm, or the approver does not work", answers.wait)
}

// These are about the signer of serving certificates in kube-controller-manager.
const (
	signerFlag   = "--cluster-signing-cert-file"
	signerRemedy = signerFlag + "=ca.crt --cluster-signing-key-file=ca.key # flags of kube-controller-manager; the " +
		"signer of a cloud may issue certificates only for machines that it knows"
)

// differences lists what differs between an issued certificate in PEM and the request.
func (c *certificateRequest) differences(issued []byte) ([]string, error) {
	block, _ := pem.Decode(issued)
	if block == nil {
		return nil, fmt.Errorf("status.certificate is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	var all []string
	compare := func(what string, got, want []string) {
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			all = append(all, fmt.Sprintf("%s %q instead of %q", what, got, want))
		}
	}
	compare("common name", []string{certificate.Subject.CommonName}, []string{c.Subject.CommonName})
	compare("organizations", certificate.Subject.Organization, c.Subject.Organization)
	compare("DNS names", certificate.DNSNames, c.DNSNames)
	compare("IP addresses", texts(certificate.IPAddresses), texts(c.IPAddresses))
	compare("e-mail addresses", certificate.EmailAddresses, c.EmailAddresses)
	compare("URIs", texts(certificate.URIs), texts(c.URIs))
	compare("extended key usages", append(texts(certificate.ExtKeyUsage), texts(certificate.UnknownExtKeyUsage)...),
		[]string{x509.ExtKeyUsageServerAuth.String()})
	if key, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || !key.Equal(c.PublicKey) {
		all = append(all, "another public key")
	}
	if certificate.IsCA {
		all = append(all, "a CA's certificate")
	}
	return all, nil
}
