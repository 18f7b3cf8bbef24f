package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/internal/echo"
)

// NodesReport is the result of a probe of several nodes of a cluster.
type NodesReport struct {
	Started         time.Time    `json:"started"`
	DurationSeconds float64      `json:"durationSeconds"`
	Nodes           []NodeReport `json:"nodes"` // sorted by name
	Groups          []NodeGroup  `json:"groups"`
	// Remedy is what to do if kube-apiserver denied the user get nodes/proxy, so that nodes were not probed.
	Remedy string `json:"remedy,omitempty"`
}

// NodeReport is the result of a probe of one node: either a Report or an Error.
type NodeReport struct {
	Name            string  `json:"name"`
	Report          *Report `json:"report,omitempty"`
	Error           string  `json:"error,omitempty"`
	DurationSeconds float64 `json:"durationSeconds"`

	denied bool // a request through kube-apiserver got the 403 that kube-apiserver sends
}

// NodeGroup is a set of nodes with the same findings, or of nodes that could not be probed. If kube-apiserver sent the
// requests, the nodes also have the same version, the same responses and the same NotProbed.
type NodeGroup struct {
	Nodes []string `json:"nodes"`
	// Findings are IDs. The evidence is in the report of each node.
	Findings []string `json:"findings"`
	// NoReport means that the nodes have an Error in place of a Report.
	NoReport bool `json:"noReport,omitempty"`

	seen []string // lines for people, see Report.seen
}

// nodesOf returns the nodes with the given names or, if there are no names, all nodes of the cluster, sorted by name.
func nodesOf(ctx context.Context, client kubernetes.Interface, names []string) ([]v1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b v1.Node) int { return cmp.Compare(a.Name, b.Name) })
	if len(names) == 0 && len(list.Items) == 0 {
		return nil, errors.New("the cluster has no nodes")
	}
	for _, name := range names {
		if !slices.ContainsFunc(list.Items, func(n v1.Node) bool { return n.Name == name }) {
			return nil, fmt.Errorf("node %q does not exist; kubectl get nodes lists the nodes", name)
		}
	}
	return slices.DeleteFunc(list.Items, func(n v1.Node) bool {
		return len(names) > 0 && !slices.Contains(names, n.Name)
	}), nil
}

// clientIdentity returns the identity with the client certificate of a client configuration, or nil if it has none. A
// token in the configuration is for the API server, so it is not sent to nodes.
func clientIdentity(name string, config *rest.Config) (*Identity, error) {
	copied := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(copied); err != nil || len(copied.CertData) == 0 {
		return nil, err
	}
	pair, err := tls.X509KeyPair(copied.CertData, copied.KeyData)
	if err != nil {
		return nil, err
	}
	return &Identity{Name: name, Certificate: &pair}, nil
}

// RunCluster probes the kubelets of the named nodes of a cluster, or of all nodes if there are no names, at most
// "limit" at once. The user of the client configuration must be allowed to list nodes. If this user has a client
// certificate, it is the identity "kubeconfig". The options are those of [Run], and Target and NodeVersion are ignored.
// The function onNode is called after each node, by one goroutine at a time.
func RunCluster(ctx context.Context, config *rest.Config, names []string, limit int, options Options,
	onNode func(node NodeReport, done, all int)) (*NodesReport, error) {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return echo.Transport{RoundTripper: next} })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	identity, err := clientIdentity("kubeconfig", config)
	if err != nil {
		return nil, err
	}
	if identity != nil {
		options.Identities = append(slices.Clone(options.Identities), *identity)
	}
	nodes, err := nodesOf(ctx, client, names)
	if err != nil {
		return nil, err
	}
	probe := func(node *v1.Node) (*Report, error) { return probeDirectly(ctx, node, options) }
	if options.ThroughAPIServer {
		s, err := newAPIServer(config, cmp.Or(options.Timeout, 10*time.Second))
		if err != nil {
			return nil, err
		}
		probe = func(node *v1.Node) (*Report, error) { return s.probe(ctx, node, options) }
	}
	done := 0
	report := runNodes(nodes, limit, probe, func(node NodeReport) {
		done++
		onNode(node, done, len(nodes))
	})
	var denied []string
	for _, node := range report.Nodes {
		if node.denied {
			denied = append(denied, node.Name)
		}
	}
	if len(denied) > 0 {
		report.Remedy = proxyRemedy(ctx, client, denied, options.ReadOnlyPort)
	}
	return report, ctx.Err()
}

// runNodes calls the function "probe" for each node.
func runNodes(nodes []v1.Node, limit int, probe func(*v1.Node) (*Report, error), onNode func(NodeReport)) *NodesReport {
	report := &NodesReport{Started: time.Now().UTC(), Nodes: make([]NodeReport, len(nodes))}
	done := make(chan int)
	go func() {
		defer close(done)
		var group errgroup.Group
		group.SetLimit(limit)
		for i := range nodes {
			group.Go(func() error {
				report.Nodes[i] = runNode(&nodes[i], probe)
				done <- i
				return nil
			})
		}
		_ = group.Wait() // the functions return no errors
	}()
	for i := range done {
		onNode(report.Nodes[i])
	}
	report.DurationSeconds = seconds(report.Started)
	report.group()
	return report
}

func seconds(since time.Time) float64 { return time.Since(since).Round(time.Millisecond).Seconds() }

func runNode(node *v1.Node, probe func(*v1.Node) (*Report, error)) NodeReport {
	start, r := time.Now(), NodeReport{Name: node.Name}
	var err error
	if r.Report, err = probe(node); err != nil {
		r.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
		refused, ok := errors.AsType[*refusal](err)
		r.denied = ok && refused.status.Code == http.StatusForbidden
	}
	r.DurationSeconds = seconds(start)
	return r
}

// probeDirectly probes the kubelet of a node at the addresses and the port in the Node's status.
func probeDirectly(ctx context.Context, node *v1.Node, options Options) (*Report, error) {
	port := strconv.Itoa(int(cmp.Or(node.Status.DaemonEndpoints.KubeletEndpoint.Port, 10250)))
	options.NodeVersion = node.Status.NodeInfo.KubeletVersion
	var failed []error
	for _, address := range addresses(node) {
		options.Target = Target{Host: address, Port: port}
		report, err := Run(ctx, options)
		if err == nil || !errors.As(err, new(*net.OpError)) && !errors.As(err, new(*net.DNSError)) {
			return report, err
		}
		failed = append(failed, err) // nothing listens at this address, so the next one is tried
	}
	if len(failed) == 0 {
		return nil, errors.New("the Node has no address in status.addresses; its kubelet has not reported any")
	}
	return nil, errors.Join(failed...)
}

// addresses returns the addresses of a node, in the order in which they are tried.
func addresses(node *v1.Node) []string {
	var all []string
	for _, kind := range []v1.NodeAddressType{v1.NodeInternalIP, v1.NodeExternalIP, v1.NodeInternalDNS, v1.NodeHostName,
		v1.NodeExternalDNS} {
		for _, a := range node.Status.Addresses {
			if a.Type == kind && !slices.Contains(all, a.Address) {
				all = append(all, a.Address)
			}
		}
	}
	return all
}

// group sets Groups: the nodes with the most severe findings first, and nodes that could not be probed last.
func (r *NodesReport) group() {
	r.Groups = []NodeGroup{}
	for _, node := range r.Nodes {
		g := NodeGroup{Findings: []string{}, NoReport: node.Report == nil}
		if node.Report != nil {
			for _, f := range node.Report.Findings {
				g.Findings = append(g.Findings, f.ID)
			}
			g.seen = node.Report.seen()
		}
		i := slices.IndexFunc(r.Groups, func(other NodeGroup) bool {
			return other.NoReport == g.NoReport && slices.Equal(other.Findings, g.Findings) &&
				slices.Equal(other.seen, g.seen)
		})
		if i < 0 {
			i = len(r.Groups)
			r.Groups = append(r.Groups, g)
		}
		r.Groups[i].Nodes = append(r.Groups[i].Nodes, node.Name)
	}
	slices.SortStableFunc(r.Groups, func(a, b NodeGroup) int { return cmp.Compare(r.rank(a), r.rank(b)) })
}

// rank orders groups: by the most severe finding, then groups without findings, then nodes that were not probed.
func (r *NodesReport) rank(g NodeGroup) int {
	switch {
	case g.NoReport:
		return len(severities) + 1
	case len(g.Findings) == 0:
		return len(severities)
	}
	return slices.Index(severities, r.first(g).Report.Findings[0].Severity)
}

// first returns the first node of a group.
func (r *NodesReport) first(g NodeGroup) *NodeReport {
	return &r.Nodes[slices.IndexFunc(r.Nodes, func(n NodeReport) bool { return n.Name == g.Nodes[0] })]
}

// Dangerous returns the number of nodes with a finding that is more severe than Note.
func (r *NodesReport) Dangerous() (n int) {
	for _, node := range r.Nodes {
		if node.Report != nil && node.Report.Dangerous() {
			n++
		}
	}
	return n
}

// Unanswered returns the number of nodes whose kubelet answered no request: nodes without a Report, and nodes whose
// Report has no response, because every handshake failed.
func (r *NodesReport) Unanswered() (n int) {
	for _, node := range r.Nodes {
		if node.Report == nil || !node.Report.HasResponses() {
			n++
		}
	}
	return n
}

// Incomplete returns the number of nodes whose Report is incomplete.
func (r *NodesReport) Incomplete() (n int) {
	for _, node := range r.Nodes {
		if node.Report != nil && node.Report.Incomplete {
			n++
		}
	}
	return n
}

// Summary returns one line for people.
func (r *NodesReport) Summary() string {
	text := fmt.Sprintf("%d nodes in %.1f s: %d with something dangerous, %d not probed", len(r.Nodes),
		r.DurationSeconds, r.Dangerous(), r.Unanswered())
	if n := r.Incomplete(); n > 0 {
		text += fmt.Sprintf(", %d with unknown settings", n)
	}
	return text
}
