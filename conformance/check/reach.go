package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/conformance/stage"
)

const (
	preferredTypes      = "--kubelet-preferred-address-types"
	internalFirstRemedy = preferredTypes + "=InternalIP,ExternalIP,Hostname"
)

func reachChecks() []Check {
	return []Check{
		{ID: "reach.dialled", Title: "kube-apiserver connects to a node", Flag: "--node-ip",
			Proves: "kube-apiserver connects to the address and port of a Node, through any proxy or tunnel in between. " +
				"The evidence has the address from which the connection came, and the pod or Node with this address.",
			run: checkDialled,
			remedy: "fauxlet check --node-ip ADDRESS # an address of this machine that kube-apiserver can reach; " +
				"not a loopback address if it runs elsewhere or in a container. Firewalls must allow TCP to " +
				"this machine"},
		{ID: "reach.usual", Title: "kube-apiserver dials the InternalIP of a node that a kubelet registers",
			Flag: preferredTypes,
			Proves: "For a Node with an InternalIP and a Hostname that cannot be resolved, kube-apiserver dials the " +
				"InternalIP. If it dials the Hostname, as it does by default, the check warns: this works if kube-apiserver " +
				"can resolve the names of all nodes. If it does not dial the InternalIP even of a Node without a " +
				"Hostname, the check fails.", run: checkUsual, remedy: internalFirstRemedy},
		{ID: "reach.order", Title: "internal addresses are preferred over external ones", Flag: preferredTypes,
			Proves: "In kube-apiserver's order of address types, InternalIP comes before ExternalIP and " +
				"ExternalDNS. The check observes the order with addresses that cannot be dialed. The evidence has " +
				"the order.", run: checkOrder, remedy: internalFirstRemedy},
		{ID: "reach.port", Title: "kube-apiserver dials the node's port",
			Flag: "status.daemonEndpoints.kubeletEndpoint.port",
			Proves: "kube-apiserver dials the port in the Node's status. After the port changes, the next request " +
				"goes to the new one. The evidence has the port for Nodes without one (`--kubelet-port`).",
			run: checkPort, remedy: "kubectl get nodes -o custom-columns=NAME:.metadata.name," +
				"PORT:.status.daemonEndpoints.kubeletEndpoint.Port"},
		{ID: "reach.ipv4", Title: "kube-apiserver connects to an IPv4 address", Flag: "--node-ip",
			Proves: "kube-apiserver connects to a Node with an IPv4 address.",
			run:    checkFamily("ipv4", "an IPv4", netip.Addr.Is4),
			remedy: "fauxlet check --node-ip ADDRESS # an IPv4 address of this machine that kube-apiserver can reach"},
		{ID: "reach.ipv6", Title: "kube-apiserver connects to an IPv6 address", Flag: "--node-ip",
			Proves: "kube-apiserver connects to a Node with an IPv6 address.",
			run:    checkFamily("ipv6", "an IPv6", netip.Addr.Is6),
			remedy: "fauxlet check --node-ip ADDRESS # an IPv6 address of this machine that kube-apiserver can reach"},
		{ID: "reach.names", Title: "kube-apiserver connects to a host name", Flag: "--node-hostname",
			Proves: "kube-apiserver resolves the host name of a Node and connects to it.", run: checkNames,
			remedy: "fauxlet check --node-hostname NAME # a name that kube-apiserver resolves to --node-ip"},
	}
}

// noneWanted is part of the kube-apiserver's error for a Node that has no address of the types in
// --kubelet-preferred-address-types. (k8s.io/kubernetes: pkg/util/node)
const noneWanted = "no preferred addresses found"

// arrival is the time to wait for a connection from the kube-apiserver. The wait must end, because a firewall may
// silently drop the packets, and then no connection and no error ever arrives.
const arrival = 15 * time.Second

func checkDialled(ctx context.Context, r *run, f *finding) error {
	d, err := r.connectTo(ctx, kubeletOptions{node: nodeOptions{name: "dialled"}})
	if err != nil {
		return err
	}
	if d.observed != nil {
		f.note("listening on %s, connected from %s", d.Local, d.Remote)
		if source := r.sourceOf(ctx, d.Remote); source != "" {
			f.note("the connection came from %s", source)
		}
		return nil
	}
	f.note("answered: %s", d.message)
	if strings.Contains(d.message, noneWanted) {
		f.flag, f.remedy = preferredTypes, internalFirstRemedy
		return f.fail("kube-apiserver prefers only address types that no Node can have")
	}
	return f.fail("kube-apiserver did not connect to %s", r.nodeIP)
}

// mustConnect makes the kube-apiserver connect to a kubelet. If it does not, the check fails with the given problem.
func (r *run) mustConnect(ctx context.Context, f *finding, o kubeletOptions, problem string) error {
	d, err := r.connectTo(ctx, o)
	switch {
	case err != nil:
		return err
	case d.observed == nil:
		f.note("answered: %s", d.message)
		return f.fail("%s", problem)
	}
	f.note("%s", d.describe())
	return nil
}

// checkUsual never offers --node-hostname: a connection would not show whether kube-apiserver dialed the address or the
// name.
func checkUsual(ctx context.Context, r *run, f *finding) error {
	offered := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: r.nodeIP.String()},
		{Type: v1.NodeHostName, Address: unresolvable("hostname")}}
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "usual", addresses: offered}, selfSigned: true})
	if err != nil {
		return err
	}
	defer k.Close()
	f.note("registered with %s", addressesText(offered))
	d, err := k.connect(ctx)
	if err != nil {
		return err
	}
	if d.observed != nil {
		f.note("%s", d.describe())
		return nil
	}
	f.note("answered: %s", d.message)
	// Without the Hostname, kube-apiserver dials the InternalIP if it is one of the preferred types.
	if err := k.updateNode(ctx, offered[:1], k.port()); err != nil {
		return err
	}
	f.note("then only with %s", addressesText(offered[:1]))
	if d, err = k.connect(ctx); err != nil {
		return err
	}
	if d.observed != nil {
		f.note("%s", d.describe())
		return f.warn("kube-apiserver prefers host names; it works only if it can resolve the names of all nodes")
	}
	f.note("answered: %s", d.message)
	return f.fail("kube-apiserver never dials the InternalIP of a node")
}

// checkFamily returns the run function of a check that fails if the kube-apiserver cannot connect to an address of the
// given IP family.
func checkFamily(name, words string, is func(netip.Addr) bool) runFunc {
	return func(ctx context.Context, r *run, f *finding) error {
		i := slices.IndexFunc(r.addresses, is)
		if i < 0 {
			return notApplicable("no --node-ip is " + words + " address")
		}
		ip := r.addresses[i]
		node := nodeOptions{name: name, addresses: stage.AddressesOfEveryType(ip.String())}
		return r.mustConnect(ctx, f, kubeletOptions{node: node, ip: ip},
			fmt.Sprintf("kube-apiserver did not connect to %s", ip))
	}
}

func checkNames(ctx context.Context, r *run, f *finding) error {
	if r.hostname == "" {
		return notApplicable("no host name of this machine is known that kube-apiserver can resolve; give " +
			"--node-hostname")
	}
	node := nodeOptions{name: "names", addresses: stage.AddressesOfEveryType(r.hostname)}
	return r.mustConnect(ctx, f, kubeletOptions{node: node},
		fmt.Sprintf("kube-apiserver did not connect to %s, which should resolve to %s", r.hostname, r.nodeIP))
}

// unresolvable returns a host name that cannot be resolved. It contains an empty label, so it fails before any DNS
// query is sent. The kube-apiserver's error contains the name.
func unresolvable(name string) string { return strings.ToLower(name) + "..fauxlet-check.invalid" }

// urlPattern matches the URL in a kube-apiserver's error about a failed connection.
var urlPattern = regexp.MustCompile(`"(https?://[^"]+)"`)

// dialedURL returns the URL that a kube-apiserver's error names, or nil if it names none.
func dialedURL(message string) *url.URL {
	match := urlPattern.FindStringSubmatch(message)
	if match == nil {
		return nil
	}
	at, _ := url.Parse(match[1]) // at is nil if the URL is invalid
	return at
}

func checkOrder(ctx context.Context, r *run, f *finding) error {
	offered := make([]v1.NodeAddress, len(stage.AddressTypes))
	for i, t := range stage.AddressTypes {
		offered[i] = v1.NodeAddress{Type: t, Address: unresolvable(string(t))}
	}
	n, err := r.node(ctx, nodeOptions{name: "order", addresses: offered, port: 1})
	if err != nil {
		return err
	}
	var order []string
	message := ""
	for len(offered) > 0 {
		if message, err = n.logs(ctx).text(); err != nil {
			return err
		}
		at := dialedURL(message)
		if at == nil {
			break // no remaining address has a preferred type
		}
		i := slices.IndexFunc(offered, func(a v1.NodeAddress) bool { return a.Address == at.Hostname() })
		if i < 0 {
			return fmt.Errorf("kube-apiserver dialed an address that is not one of %s: %s", addressesText(offered),
				message)
		}
		order = append(order, string(offered[i].Type))
		offered = slices.Delete(offered, i, i+1)
		if err := n.updateNode(ctx, offered, 1); err != nil {
			return err
		}
	}
	f.note("the order is %s", strings.Join(order, ","))
	if len(offered) > 0 {
		f.note("not dialed: %s", addressesText(offered))
		f.note("answered: %s", message)
	}
	for _, t := range order {
		switch {
		case t == string(v1.NodeInternalIP):
			return nil
		case strings.HasPrefix(t, "External"):
			return f.warn("%s is preferred over InternalIP: traffic to kubelets leaves the cluster's network if nodes "+
				"have an external address", t)
		}
	}
	return nil
}

func addressesText(all []v1.NodeAddress) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = fmt.Sprintf("%s=%s", a.Type, a.Address)
	}
	return strings.Join(texts, ", ")
}

// updateNode changes the Node's addresses and its port. If the given port is 0, it removes the port.
func (n *node) updateNode(ctx context.Context, addresses []v1.NodeAddress, port int) error {
	// Patch the Node instead of updating it, because controllers change Nodes at the same time.
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"addresses":       addresses,
		"daemonEndpoints": v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: int32(port)}},
	}})
	if err != nil {
		return err
	}
	_, err = n.run.client.CoreV1().Nodes().
		Patch(ctx, n.object.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func checkPort(ctx context.Context, r *run, f *finding) error {
	var ports []int
	var first *kubelet
	for i := range 2 {
		k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: fmt.Sprintf("port-%d", i)}, selfSigned: true})
		if err != nil {
			return err
		}
		defer k.Close()
		if first == nil {
			first = k
		} else if err := first.updateNode(ctx, stage.AddressesOfEveryType(r.nodeIP.String()), k.port()); err != nil {
			return err
		}
		message, err := first.logsInsecurely(ctx).text()
		if err != nil {
			return err
		}
		if len(k.states.All()) == 0 {
			f.note("answered: %s", message)
			return f.fail("kube-apiserver did not dial the Node's port %d", k.port())
		}
		ports = append(ports, k.port())
	}
	f.note("dialed port %d, and port %d after the Node changed", ports[0], ports[1])
	if err := first.updateNode(ctx, stage.AddressesOfEveryType(unresolvable("port")), 0); err != nil {
		return err
	}
	message, err := first.logsInsecurely(ctx).text()
	if at := dialedURL(message); err == nil && at != nil {
		f.note("for a Node without a port: dialed port %s", at.Port())
	}
	return err
}
