package symptoms

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Facts are what a text states about the connection or request that failed. A field is empty if the text does not state
// it. Addresses, paths and names are copied from the text.
type Facts struct {
	// Time is the time of the log line, in the format of the text.
	Time string `json:"time,omitempty"`
	// Writer is the program that printed or logged the text.
	Writer string `json:"writer,omitempty"`
	// Caller is the program that opened the connection or sent the request.
	Caller string `json:"caller,omitempty"`
	// Callee is the program, or the port of a kubelet, to which the connection or request went. See the constants.
	Callee string `json:"callee,omitempty"`
	// Address is the callee's address: HOST:PORT or HOST.
	Address string `json:"address,omitempty"`
	// From is the caller's address, if the callee wrote the text.
	From string `json:"from,omitempty"`
	// Path is the path of the request's URL.
	Path string `json:"path,omitempty"`
	// Operation is the purpose of the request, such as logs, exec or metrics.
	Operation string `json:"operation,omitempty"`
	// Node is the name of a Node in the text.
	Node string `json:"node,omitempty"`
	// Version states which versions of Kubernetes use this wording, as in "1.32 or newer".
	Version string `json:"version,omitempty"`
	// Side is "server" if the callee wrote the text, and otherwise empty.
	Side string `json:"side,omitempty"`
}

// These are values of Facts.Callee. Others are names of programs in the catalog, and "container runtime", "registry",
// "proxy", "webhook or aggregated API server", "cAdvisor", "DNS", "etcd", "pod" and "the server of k3s or RKE2".
const (
	kubelet       = "kubelet"
	readOnlyPort  = "read-only port"
	healthzPort   = "healthz port"
	kubeAPIServer = "kube-apiserver"
	otherServer   = "another server"
)

// reading is a phrase from which facts follow. The named groups of its pattern are facts too.
type reading struct {
	Text      pattern `json:"text"`
	Writer    string  `json:"writer"`
	Caller    string  `json:"caller"`
	Callee    string  `json:"callee"`
	Operation string  `json:"operation"`
	Version   string  `json:"version"`
	Side      string  `json:"side"`
}

// program is a program that prints errors about kubelets, or is called in them.
type program struct {
	Name string `json:"name"`
	// Writes matches texts that only this program prints.
	Writes pattern `json:"writes"`
	// Calls is the callee of the program's requests, unless the text names another one.
	Calls string `json:"calls"`
	// Settings state how the program is configured, for the names in braces of symptoms; see settingsOf. A cause whose
	// text needs a setting that the caller does not have is left out.
	Settings map[string]string `json:"settings"`
}

// A urlPattern matches URLs. A container runtime can return a URL without a scheme.
var urlPattern = regexp.MustCompile(`(?:(https?|wss?)://|["' ]//)([^/\s"'\\<>?]+)([^\s"'\\<>]*)`)

var dialPattern = regexp.MustCompile(`dial (?:tcp|udp)[46]? (\[?[\w.:%-]+\]?:\d+)`)

// writerOf returns the program that wrote a line, or "" if the line does not show it.
func writerOf(line string) string {
	c := catalog()
	for i := range c.Programs {
		if p := &c.Programs[i]; p.Writes.matches(line) {
			return p.Name
		}
	}
	return ""
}

// readFacts reads the facts of an event. The writer is the program that wrote it, or empty.
func readFacts(text, writer string) Facts {
	f := Facts{Time: timeOf(text).text, Writer: writer}
	c := catalog()
	for i := range c.Readings {
		f.apply(&c.Readings[i], text)
	}
	f.readAddress(text)
	f.complete()
	return f
}

// apply sets the facts that follow from a phrase, unless they are already known.
func (f *Facts) apply(r *reading, text string) {
	match := r.Text.find(text)
	if match == nil {
		return
	}
	for i, name := range r.Text.SubexpNames() {
		switch name {
		case "address":
			setFact(&f.Address, match[i])
		case "from":
			setFact(&f.From, match[i])
		case "node":
			setFact(&f.Node, match[i])
		}
	}
	setFact(&f.Writer, r.Writer)
	setFact(&f.Caller, r.Caller)
	setFact(&f.Callee, r.Callee)
	setFact(&f.Operation, r.Operation)
	setFact(&f.Version, r.Version)
	setFact(&f.Side, r.Side)
}

func setFact(fact *string, value string) {
	if *fact == "" {
		*fact = value
	}
}

// readAddress reads the callee from the first URL of the text, and from the address of a failed connection.
func (f *Facts) readAddress(text string) {
	dialed := ""
	if match := dialPattern.FindStringSubmatch(text); match != nil {
		dialed = match[1]
	}
	if match := urlPattern.FindStringSubmatch(text); match != nil {
		scheme, host, path := match[1], strings.TrimRight(match[2], ".,;)"), match[3]
		path, _, _ = strings.Cut(path, "?")
		path = strings.TrimRight(path, ":,;)]}")
		setFact(&f.Path, path)
		setFact(&f.Callee, calleeOf(scheme, host, path))
		if dialed == "" || f.Callee != calleeOf("", dialed, "") && portOf(dialed) != portOf(host) {
			setFact(&f.Address, host)
		}
	}
	if dialed != "" {
		setFact(&f.Address, dialed)
		setFact(&f.Callee, calleeOf("", dialed, ""))
	}
	setFact(&f.Operation, operationOf(f.Path))
}

// complete adds the facts that follow from the others: a program that reports an error without naming the caller is the
// caller itself, except in the log of a server.
func (f *Facts) complete() {
	p := programNamed(f.Writer)
	if f.Side == "server" || f.Writer == kubelet && f.onKubelet() {
		f.Side = "server"
		setFact(&f.Callee, f.Writer)
		return
	}
	if f.Caller == "" {
		f.Caller = f.Writer
		if f.Writer == "kubectl" && (f.onKubelet() || f.Callee == "") {
			f.Caller = "" // kubectl prints the errors of others, too
		}
	}
	if f.Callee == "" && p != nil && f.Caller == f.Writer {
		f.Callee = p.Calls
	}
	if f.Caller == "" && f.Writer == "kubectl" {
		if f.onKubelet() {
			f.Caller = kubeAPIServer
		}
	}
}

// onKubelet reports whether the callee is a kubelet.
func (f *Facts) onKubelet() bool {
	return f.Callee == kubelet || f.Callee == readOnlyPort || f.Callee == healthzPort
}

// concernsKubelet reports whether a kubelet is the writer, the caller or the callee. It is also true if the callee is
// not known.
func (f *Facts) concernsKubelet() bool {
	return f.onKubelet() || f.Callee == "cAdvisor" || f.Writer == kubelet || f.Caller == kubelet || f.Callee == ""
}

// mayConcernAPIServer reports whether kube-apiserver may be the caller. Only then does fauxlet check help, because it
// tests kube-apiserver.
func (f *Facts) mayConcernAPIServer() bool {
	return slices.Contains([]string{"", kubeAPIServer, "kubectl", "k3s", "RKE2"}, f.Caller)
}

func programNamed(name string) *program {
	for i := range catalog().Programs {
		if p := &catalog().Programs[i]; p.Name == name {
			return p
		}
	}
	return nil
}

// calleesByPort lists ports that are normally used by one program.
var calleesByPort = map[string]string{
	"10250": kubelet, "10255": readOnlyPort, "10248": healthzPort, "4194": "cAdvisor",
	"6443": kubeAPIServer, "6444": kubeAPIServer,
	"2379": "etcd", "2380": "etcd", "53": "DNS", "9345": "the server of k3s or RKE2",
	"8132": "konnectivity-server", "8133": "konnectivity-server",
}

// apiServersPorts are other ports that kube-apiserver is configured with, for example by minikube and MicroK8s. Many
// other programs use them too.
var apiServersPorts = map[string]bool{"8080": true, "8443": true, "7443": true, "16443": true}

// apiServersPath matches the paths of kube-apiserver that other programs rarely have.
var apiServersPath = regexp.MustCompile(`^/(?:apis?(?:/|$)|version|openapi/)`)

// healthPath matches paths that kube-apiserver, the healthz port of a kubelet and many other programs have.
var healthPath = regexp.MustCompile(`^/(?:healthz|livez|readyz)?(?:/|$)`)

// kubeletPath matches the paths of a kubelet. Other programs serve some of them too, so the port is more important.
var kubeletPath = regexp.MustCompile(`^/(?:containerLogs|exec|attach|portForward|run|stats/(?:summary|container)` +
	`|metrics/(?:cadvisor|resource|probes)|pods|runningpods|allocatedPods|configz|spec|checkpoint|debug/pprof|logs)(?:[/?]|$)`)

// calleeOf returns the program at an address. All parts can be empty. The result is empty if the program is unknown.
func calleeOf(scheme, host, path string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, ""
	}
	// The name or the path shows that the server is kube-apiserver, if the port allows it.
	named := name == "kubernetes" || strings.HasPrefix(name, "kubernetes.default") || apiServersPath.MatchString(path)
	mayBeAPIServer := calleesByPort[port] == kubeAPIServer || apiServersPorts[port]
	switch {
	case strings.HasPrefix(path, "/cri/"):
		return "container runtime"
	case strings.HasPrefix(path, "/v2/") || path == "/v2":
		return "registry"
	case kubeletPath.MatchString(path) && !mayBeAPIServer:
		if port == "10255" || scheme == "http" && port != "10250" {
			return readOnlyPort
		}
		return kubelet
	case strings.HasSuffix(name, ".svc") && name != "kubernetes.default.svc":
		return "webhook or aggregated API server"
	case strings.HasPrefix(path, "/apis/metrics.k8s.io") && port != "" && !mayBeAPIServer && calleesByPort[port] == "":
		return "webhook or aggregated API server"
	case calleesByPort[port] != "":
		return calleesByPort[port]
	case apiServersPorts[port] && (named || isLoopback(name) ||
		scheme == "https" && port != "8080" && healthPath.MatchString(path)):
		return kubeAPIServer
	case port != "" && port != "443" && port != "80":
		return otherServer
	case named:
		return kubeAPIServer
	case path != "" && !healthPath.MatchString(path):
		return otherServer
	}
	return ""
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}

// operationOf returns the purpose of a request for a path of a kubelet.
func operationOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "containerLogs":
		return "logs"
	case "exec", "attach", "run", "stats", "metrics", "pods", "checkpoint":
		return first
	case "portForward":
		return "port-forward"
	}
	return ""
}
