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

	"fauxlet/conformance"
	"fauxlet/conformance/stage"
)

const preferredTypes = "--kubelet-preferred-address-types"

func reachChecks() []Check {
	return []Check{
		{
			ID: "reach.dialled", Title: "kube-apiserver connects to a node", Flag: "--node-ip",
			Proves: "kube-apiserver connects to the address and port of a Node, through any proxy in between.",
			run:    checkDialled,
		},
		{
			ID: "reach.usual", Title: "kube-apiserver dials the InternalIP of a node that a kubelet " +
				"registers", Flag: preferredTypes,
			Proves: "For a Node with a Hostname and an InternalIP, kube-apiserver dials the address. The host name " +
				"cannot be resolved, unless `--node-hostname` is given.",
			Needs: []string{"reach.dialled"},
			run:   checkUsual,
		},
		{
			ID: "reach.order", Title: "internal addresses are preferred over external ones", Flag: preferredTypes,
			Proves: "In kube-apiserver's order of address types, InternalIP comes before ExternalIP and " +
				"ExternalDNS. The check observes the order with addresses that cannot be dialed. The evidence has " +
				"the order.",
			Needs: []string{"reach.dialled"},
			run:   checkOrder,
		},
		{
			ID: "reach.port", Title: "kube-apiserver dials the node's port",
			Flag: "status.daemonEndpoints.kubeletEndpoint.port",
			Proves: "kube-apiserver dials the port in the Node's status. After the port changes, the next request " +
				"goes to the new one. The evidence has the port for Nodes without one (`--kubelet-port`).",
			Needs: []string{"reach.dialled"},
			run:   checkPort,
		},
		{
			ID: "reach.ipv4", Title: "kube-apiserver connects to an IPv4 address", Flag: "--node-ip",
			Proves: "kube-apiserver connects to a Node with an IPv4 address.",
			Needs:  []string{"reach.dialled"},
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkFamily(ctx, "ipv4", "an IPv4", netip.Addr.Is4)
			},
		},
		{
			ID: "reach.ipv6", Title: "kube-apiserver connects to an IPv6 address", Flag: "--node-ip",
			Proves: "kube-apiserver connects to a Node with an IPv6 address.",
			Needs:  []string{"reach.dialled"},
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkFamily(ctx, "ipv6", "an IPv6", netip.Addr.Is6)
			},
		},
		{
			ID: "reach.names", Title: "kube-apiserver connects to a host name", Flag: "--node-hostname",
			Proves: "kube-apiserver resolves the host name of a Node and connects to it.",
			Needs:  []string{"reach.dialled"},
			run:    checkNames,
		},
	}
}

// noneWanted is the error for a Node without an address of a preferred type. (k8s.io/kubernetes: pkg/util/node)
const noneWanted = "no preferred addresses found"

// arrival is the time to wait for the kube-apiserver's connection, in case its packets do not arrive.
const arrival = 15 * time.Second

func checkDialled(ctx context.Context, r *run) (conformance.Result, error) {
	conn, message, err := r.connectTo(ctx, "dialled", r.nodeIP, nil)
	if err != nil {
		return conformance.Result{}, err
	}
	if conn == nil && strings.Contains(message, noneWanted) {
		result := fail(
			"kube-apiserver prefers no type of address that a Node can have",
			preferredTypes+"=InternalIP,ExternalIP,Hostname",
			"answered: "+message,
		)
		result.Flag = preferredTypes
		return result, nil
	}
	if conn == nil {
		return fail(fmt.Sprintf("kube-apiserver did not connect to %s", r.nodeIP),
			"fauxlet check --node-ip ADDRESS # an address of this machine that kube-apiserver can reach; "+
				"not a loopback address if it runs elsewhere or in a container. Firewalls must allow TCP to "+
				"this machine",
			"answered: "+message), nil
	}
	return pass(fmt.Sprintf("listening on %s, connected from %s", conn.Local, conn.Remote)), nil
}

// connectTo makes the kube-apiserver connect to a Node with these addresses. It returns the first connection, or nil
// if none arrived, and the kube-apiserver's response to the API client.
func (r *run) connectTo(
	ctx context.Context,
	name string,
	ip netip.Addr,
	addresses []v1.NodeAddress,
) (conn *observed, message string, err error) {
	k, err := r.kubelet(
		ctx,
		kubeletOptions{node: nodeOptions{name: name, addresses: addresses}, ip: ip, certificate: r.selfSigned},
	)
	if err != nil {
		return nil, "", err
	}
	defer k.Close()
	once, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	message, err = k.logsInsecurely(once).text()
	if err != nil && once.Err() != nil && ctx.Err() == nil {
		message, err = fmt.Sprintf("no response within %v", arrival), nil
	}
	if all := k.observed(); len(all) > 0 {
		conn = &all[0]
	}
	return conn, message, err
}

// describe describes a connection in one line.
func (s *observed) describe() string {
	text := "listening on " + s.Local
	for _, one := range s.Requests {
		return text + "; request: " + one.String()
	}
	return text + "; connection without a request"
}

func checkUsual(ctx context.Context, r *run) (conformance.Result, error) {
	name := r.options.NodeHostname
	if name == "" {
		name = unresolvable("hostname")
	}
	offered := []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: r.nodeIP.String()},
		{Type: v1.NodeHostName, Address: name},
	}
	conn, message, err := r.connectTo(ctx, "usual", r.nodeIP, offered)
	if err != nil {
		return conformance.Result{}, err
	}
	presented := "registered with " + addressesText(offered)
	if conn != nil {
		return pass(presented, conn.describe()), nil
	}
	return fail(
		"kube-apiserver does not dial the InternalIP of a node that has InternalIP and Hostname, and the host "+
			"name cannot be resolved",
		preferredTypes+"=InternalIP,ExternalIP,Hostname",
		presented,
		"answered: "+message,
	), nil
}

// unresolvable returns a host name that fails before any DNS query, because it contains an empty label. The
// kube-apiserver's error contains the name.
func unresolvable(name string) string { return strings.ToLower(name) + "..fauxlet-check.invalid" }

// urlPattern matches the URL in a kube-apiserver's error about a failed connection.
var urlPattern = regexp.MustCompile(`"(https?://[^"]+)"`)

// dialedURL returns the URL that a kube-apiserver's error names, or nil if it names none.
func dialedURL(message string) *url.URL {
	match := urlPattern.FindStringSubmatch(message)
	if match == nil {
		return nil
	}
	at, err := url.Parse(match[1])
	if err != nil {
		return nil
	}
	return at
}

func checkOrder(ctx context.Context, r *run) (conformance.Result, error) {
	offered := make([]v1.NodeAddress, len(stage.AddressTypes))
	for i, t := range stage.AddressTypes {
		offered[i] = v1.NodeAddress{Type: t, Address: unresolvable(string(t))}
	}
	n, err := r.node(ctx, nodeOptions{name: "order", addresses: offered, port: 1})
	if err != nil {
		return conformance.Result{}, err
	}
	var order []string
	message := ""
	for len(offered) > 0 {
		if message, err = n.logs(ctx, nil).text(); err != nil {
			return conformance.Result{}, err
		}
		at := dialedURL(message)
		if at == nil {
			break // no remaining address has a preferred type
		}
		i := slices.IndexFunc(offered, func(a v1.NodeAddress) bool { return a.Address == at.Hostname() })
		if i < 0 {
			return conformance.Result{}, fmt.Errorf(
				"kube-apiserver dialed an address that is not one of %s: %s",
				addressesText(offered),
				message,
			)
		}
		order = append(order, string(offered[i].Type))
		offered = slices.Delete(offered, i, i+1)
		if err := n.updateNode(ctx, offered, 1); err != nil {
			return conformance.Result{}, err
		}
	}
	evidence := []string{"the order is " + strings.Join(order, ",")}
	if len(offered) > 0 {
		evidence = append(evidence, "not dialed: "+addressesText(offered), "answered: "+message)
	}
	internal := slices.Index(order, string(v1.NodeInternalIP))
	for i, t := range order {
		if strings.HasPrefix(t, "External") && (internal < 0 || i < internal) {
			return warn(
				t+" is preferred over InternalIP: traffic to kubelets leaves the cluster's network if nodes have "+
					"an external address",
				preferredTypes+"=InternalIP,ExternalIP,Hostname",
				evidence...), nil
		}
	}
	return pass(evidence...), nil
}

func addressesText(all []v1.NodeAddress) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = fmt.Sprintf("%s=%s", a.Type, a.Address)
	}
	return strings.Join(texts, ", ")
}

// updateNode changes the Node's addresses and its port; 0 removes the port.
func (n *node) updateNode(ctx context.Context, addresses []v1.NodeAddress, port int) error {
	// This is a patch, not an update, because controllers change Nodes at the same time.
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

func checkPort(ctx context.Context, r *run) (conformance.Result, error) {
	var both [2]*kubelet
	for i := range both {
		var err error
		if both[i], err = r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: fmt.Sprintf("port-%d", i)},
			certificate: r.selfSigned}); err != nil {
			return conformance.Result{}, err
		}
		defer both[i].Close()
	}
	first, second := both[0], both[1]
	wrong := func(k *kubelet, message string) conformance.Result {
		return fail(
			fmt.Sprintf("kube-apiserver did not dial the Node's port %d", k.port()),
			"kubectl get nodes -o custom-columns=NAME:.metadata.name,PORT:.status.daemonEndpoints.kubeletEndpoint.Port",
			"answered: "+message,
		)
	}
	message, err := first.logsInsecurely(ctx).text()
	if err != nil {
		return conformance.Result{}, err
	}
	if len(first.observed()) == 0 {
		return wrong(first, message), nil
	}
	if err := first.updateNode(ctx, stage.AddressesOfEveryType(r.nodeIP.String()), second.port()); err != nil {
		return conformance.Result{}, err
	}
	if message, err = first.logsInsecurely(ctx).text(); err != nil {
		return conformance.Result{}, err
	}
	if len(second.observed()) == 0 {
		return wrong(second, message), nil
	}
	evidence := []string{fmt.Sprintf("dialed port %d, and port %d after the Node changed", first.port(), second.port())}
	if err := first.updateNode(ctx, stage.AddressesOfEveryType(unresolvable("port")), 0); err != nil {
		return conformance.Result{}, err
	}
	if message, err = first.logsInsecurely(ctx).text(); err != nil {
		return conformance.Result{}, err
	}
	if at := dialedURL(message); at != nil {
		evidence = append(evidence, "for a Node without a port: dialed port "+at.Port())
	}
	return pass(evidence...), nil
}

// checkFamily makes the kube-apiserver connect to an address of one IP family.
func (r *run) checkFamily(
	ctx context.Context,
	name, words string,
	of func(netip.Addr) bool,
) (conformance.Result, error) {
	i := slices.IndexFunc(r.addresses, of)
	if i < 0 {
		return skip("no --node-ip is " + words + " address"), nil
	}
	ip := r.addresses[i]
	conn, message, err := r.connectTo(ctx, name, ip, stage.AddressesOfEveryType(ip.String()))
	if err != nil {
		return conformance.Result{}, err
	}
	if conn == nil {
		return fail(
			fmt.Sprintf("kube-apiserver did not connect to %s", ip),
			"fauxlet check --node-ip ADDRESS # "+words+" address of this machine that kube-apiserver can reach",
			"answered: "+message,
		), nil
	}
	return pass(conn.describe()), nil
}

func checkNames(ctx context.Context, r *run) (conformance.Result, error) {
	if r.hostname == "" {
		return skip("no host name of this machine is known that kube-apiserver can resolve; give --node-hostname"), nil
	}
	conn, message, err := r.connectTo(ctx, "names", r.nodeIP, stage.AddressesOfEveryType(r.hostname))
	if err != nil {
		return conformance.Result{}, err
	}
	if conn == nil {
		return fail(
			fmt.Sprintf("kube-apiserver did not connect to %s, which should resolve to %s", r.hostname, r.nodeIP),
			"fauxlet check --node-hostname NAME # a name that kube-apiserver resolves to --node-ip",
			"answered: "+message,
		), nil
	}
	return pass(conn.describe()), nil
}
