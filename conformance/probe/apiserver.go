package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/internal/shellword"
)

// APIServer is the identity of the requests that kube-apiserver sends to kubelets, see [Options.ThroughAPIServer].
const APIServer = "kube-apiserver"

// Omission is something that the probe did not look at.
type Omission struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

const onlyGET = "only GET requests are sent through kube-apiserver, and none for /exec"

// hidden is what no probe through kube-apiserver can see.
var hidden = []Omission{
	{"whether the kubelet accepts requests without a credential, with a certificate of an unknown CA, or with a token",
		"kube-apiserver sends the requests, with its own credential"},
	{"TLS: the kubelet's versions, cipher suites, serving certificate and client CAs",
		"kube-apiserver makes the TLS connections"},
	{"whether kube-apiserver may run commands in containers (create nodes/proxy)",
		onlyGET},
}

// apiServer sends requests to kubelets through the subresource proxy of their Nodes. The API server replaces the
// credential of the user with its own. (kube-apiserver: pkg/registry/core/node/rest/proxy.go, and ResourceLocation in
// pkg/registry/core/node/strategy.go)
type apiServer struct {
	base    string // URL without a slash at the end
	client  *http.Client
	timeout time.Duration
}

func newAPIServer(config *rest.Config, timeout time.Duration) (*apiServer, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &apiServer{strings.TrimSuffix(base.String(), "/"),
		&http.Client{Transport: transport, CheckRedirect: noRedirect}, timeout}, nil
}

// url returns the URL of a node's proxy. The node is a name, or http:NAME:PORT for another port than the kubelet's.
func (s *apiServer) url(node string) string {
	return s.base + "/api/v1/nodes/" + url.PathEscape(node) + "/proxy"
}

// get sends one request to a node. The status is that of the kubelet. If the kubelet did not answer, the cause is a
// refusal of kube-apiserver or another error.
func (s *apiServer) get(ctx context.Context, node string, r *row) Response {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := time.Now()
	a, err := s.exchange(ctx, node, r)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no response in time: %w", ctx.Err())
		}
		a = Response{Access: NoResponse, Error: err.Error(), cause: err}
	}
	a.identity, a.row, a.took = APIServer, r, time.Since(start)
	return a
}

func (s *apiServer) exchange(ctx context.Context, node string, r *row) (a Response, err error) {
	request, err := http.NewRequestWithContext(ctx, r.method, s.url(node)+r.path, nil)
	if err != nil {
		return a, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	limit := int64(shortBody)
	if r.body {
		limit = longBody
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit))
	if err != nil {
		return a, err
	}
	a = classify(r, response.StatusCode, body)
	switch {
	case a.apiServer:
		refused := &refusal{}
		if err := json.Unmarshal(body, &refused.status); err != nil {
			return a, err
		}
		return a, refused
	case a.Access == NoResponse: // of an older kube-apiserver, or of a proxy in front of it
		text, _, _ := strings.Cut(string(body[:min(len(body), 512)]), "\n")
		return a, fmt.Errorf("%d %s: %s", a.Status, http.StatusText(a.Status), text)
	case r.body && a.Status == http.StatusOK:
		a.body = body
	}
	return a, nil
}

// refusal is an answer of kube-apiserver itself, in place of the kubelet's.
type refusal struct{ status metav1.Status }

func (r *refusal) Error() string {
	text := "kube-apiserver answered: " + r.status.Message
	if r.status.Message == "address not allowed" {
		text += ": the Node's address is loopback or link-local, and nodes/proxy does not connect to such addresses; " +
			"probe this kubelet directly"
	}
	return text
}

// Unwrap makes a refused connection between kube-apiserver and the node equal to syscall.ECONNREFUSED.
func (r *refusal) Unwrap() error {
	if strings.HasSuffix(r.status.Message, ": connect: connection refused") {
		return syscall.ECONNREFUSED
	}
	return nil
}

// probe sends the GET requests of the table, except those for /exec, to the kubelet of a node, and to its read-only
// port. Options has the timeout and the read-only port.
func (s *apiServer) probe(ctx context.Context, node *v1.Node, options Options) (*Report, error) {
	o := &observation{identities: []Identity{{Name: APIServer}}, throughAPIServer: true,
		nodeVersion: node.Status.NodeInfo.KubeletVersion}
	var column []Response
	for n := range rows {
		r := &rows[n]
		if r.method != http.MethodGet || runsCommand(r) {
			column = append(column, Response{Access: NotSent, Error: onlyGET, identity: APIServer, row: r})
			continue
		}
		a := s.get(ctx, node.Name, r)
		if n == 0 && a.cause != nil { // the other requests would fail in the same way
			return nil, a.cause
		}
		column = append(column, a)
	}
	o.responses = map[string][]Response{APIServer: column}
	if !o.isKubelet() {
		o.refusals = &refusals{s.get(ctx, node.Name, &podsRow), s.get(ctx, node.Name, &unservedRow)}
	}
	if err := errors.Join(ctx.Err(), o.notKubelet()); err != nil {
		return nil, err
	}
	port := o.readOnlyTarget(options.ReadOnlyPort)
	o.readOnly = readOnlyState(port, func(r *row) Response {
		return s.get(ctx, "http:"+node.Name+":"+strconv.Itoa(port), r)
	})
	report := o.report(time.Now())
	report.URL = s.url(node.Name)
	configuration, _ := o.configz()
	report.NotProbed, report.Incomplete = o.omissions(), configuration == nil
	return report, ctx.Err()
}

// omissions returns what the probe of one kubelet through kube-apiserver did not look at.
func (o *observation) omissions() []Omission {
	all := slices.Clone(hidden)
	var settings []string
	for _, s := range o.settings() {
		if s.Value == unknown {
			settings = append(settings, s.Name)
		}
	}
	if len(settings) > 0 {
		why := "GET /configz got no usable answer"
		if a := o.response(APIServer, "GET /configz"); a.Access == Forbidden {
			why = "kube-apiserver may not get /configz from the kubelet"
		} else if a.Status != http.StatusOK {
			why = "GET /configz: " + cmp.Or(a.Error, strconv.Itoa(a.Status))
		}
		all = append(all, Omission{"the settings " + strings.Join(settings, ", "), why})
	}
	if state := o.readOnly.State; state == NotProbed || state == Unresponsive {
		why := "no response"
		if o.readOnly.Error != "" {
			why = o.readOnly.Error
		} else if state == NotProbed {
			why = "the port to probe is 0"
		}
		all = append(all, Omission{fmt.Sprintf("the read-only port %d", o.readOnly.Port), why})
	}
	return all
}

// judgeAPIServer reports whether the kubelet lets kube-apiserver do what kubectl logs and exec need.
func (o *observation) judgeAPIServer() []Finding {
	const certificate = "Give kube-apiserver --kubelet-client-certificate and --kubelet-client-key, with a " +
		"certificate of a CA in the kubelet's authentication.x509.clientCAFile. fauxlet check finds out what is wrong."
	if a := o.find(func(a *Response) bool { return a.Access == Unauthenticated }); a != nil {
		return []Finding{{ID: "apiserver-unauthenticated", Severity: Note, Evidence: a.String(), Remedy: certificate,
			What: "The kubelet does not authenticate kube-apiserver, so kubectl logs, exec and port-forward fail."}}
	}
	a := o.response(APIServer, "GET /containerLogs"+impossiblePod)
	if a.Access != Forbidden || a.user == "" {
		return nil
	}
	f := Finding{ID: "apiserver-forbidden", Severity: Note, Evidence: a.String(),
		What: fmt.Sprintf("kube-apiserver is %q at the kubelet, and may not get nodes/proxy, so kubectl logs fails.",
			a.user),
		Remedy: "Bind its user: kubectl create clusterrolebinding kubelet-client " +
			"--clusterrole=system:kubelet-api-admin --user=" + shellword.Quote(a.user)}
	if a.user == anonymousUser {
		f.Remedy = certificate
	}
	return []Finding{f}
}

// access returns lines for people with the requests that kube-apiserver may send to the kubelet, and all others.
func (r *Report) access() (lines []string) {
	user := "kube-apiserver"
	if r.Identities[0].User != "" {
		user += fmt.Sprintf(" (user %q)", r.Identities[0].User)
	}
	for _, kind := range []struct {
		access Access
		text   string
	}{
		{Admitted, user + " may get"}, {Forbidden, user + " may not get"},
		{Unauthenticated, "kube-apiserver is not authenticated"},
		{AuthorizationError, "the kubelet could not authorize"}, {Disabled, "disabled"}, {NotServed, "not served"},
		{NoResponse, "no response"},
	} {
		var paths []string
		for _, request := range r.Requests {
			if request.Responses[APIServer].Access == kind.access {
				path, _, _ := strings.Cut(strings.ReplaceAll(request.Path, impossiblePod, "/…"), "?")
				paths = append(paths, path)
			}
		}
		if len(paths) > 0 {
			lines = append(lines, kind.text+": "+strings.Join(paths, ", "))
		}
	}
	return lines
}

// seen returns lines for people about a probe of this kubelet through kube-apiserver: the version, what kube-apiserver
// may do, and what was not probed on this node only. There are none for a direct probe.
func (r *Report) seen() (lines []string) {
	if len(r.NotProbed) == 0 {
		return nil
	}
	if r.Version != "" {
		lines = append(lines, "kubelet "+r.Version)
	}
	lines = append(lines, r.access()...)
	for _, omission := range r.NotProbed[len(hidden):] {
		lines = append(lines, "not probed: "+omission.What+": "+omission.Why)
	}
	return lines
}

// mostNamed is the number of nodes up to which the commands of a remedy name each of them.
const mostNamed = 10

// deniedProxy returns the nodes for which the user of the client may not get nodes/proxy. It does not rely on the
// answers through the proxy, because a kubelet could imitate the answers of kube-apiserver. For more than mostNamed
// nodes, it checks the permission for all nodes of the cluster.
func deniedProxy(ctx context.Context, client kubernetes.Interface, nodes []string) ([]string, error) {
	names := nodes
	if len(nodes) > mostNamed {
		names = []string{""}
	}
	var denied []string
	for _, name := range names {
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
			&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes",
					Subresource: "proxy", Name: name}}}, metav1.CreateOptions{})
		switch {
		case err != nil:
			return nil, err
		case review.Status.Allowed:
		case name == "":
			return nodes, nil
		default:
			denied = append(denied, name)
		}
	}
	return denied, nil
}

// proxyRemedy returns what to do if kube-apiserver denied the user of the client get nodes/proxy for some nodes: a line
// of text, and a line for each command. The role of the commands also covers the proxy of the read-only port, if the
// port is not 0. If kube-apiserver does not deny it, or the user is unknown, proxyRemedy returns "".
func proxyRemedy(ctx context.Context, client kubernetes.Interface, nodes []string, port int) string {
	denied, err := deniedProxy(ctx, client, nodes)
	if err != nil || len(denied) == 0 {
		return ""
	}
	self, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{},
		metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	user := self.Status.UserInfo.Username
	role := []string{"kubectl", "create", "clusterrole", "fauxlet-probe", "--verb=get", "--resource=nodes/proxy"}
	if len(denied) <= mostNamed {
		for _, node := range denied {
			role = append(role, "--resource-name="+node)
			if port != 0 {
				role = append(role, fmt.Sprintf("--resource-name=http:%s:%d", node, port))
			}
		}
	}
	binding := []string{"kubectl", "create", "clusterrolebinding", "fauxlet-probe", "--clusterrole=fauxlet-probe",
		"--user=" + user}
	return fmt.Sprintf("The user %q may not get nodes/proxy. This permission is dangerous: with it, a user who reaches "+
		"the kubelet's port can run commands in every container of the node, because exec by WebSocket is a GET; and "+
		"through kube-apiserver, the user reads the logs of all containers. It is better to use the kubeconfig of an "+
		"administrator. Or let an administrator grant the permission, and remove it after the probe:\n%s\n%s\n%s", user,
		shellword.Join(role), shellword.Join(binding), "kubectl delete clusterrole,clusterrolebinding fauxlet-probe")
}
