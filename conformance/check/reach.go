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
			ID: "reach.dialled", Title: "a node is dialled", Flag: "--node-ip",
			Proves: "kube-apiserver connects with the address and port that a Node has, through whatever is between the two.",
			run:    checkDialled,
		},
		{
			ID: "reach.usual", Title: "a node that registered as kubelets do is dialled where it listens", Flag: preferredTypes,
			Proves: "Of a Node with its name as Hostname and its address as InternalIP, the address is dialled. The name is looked up in no DNS: it is one that cannot be there, or that of `--node-hostname`.",
			Needs:  []string{"reach.dialled"},
			run:    checkUsual,
		},
		{
			ID: "reach.order", Title: "internal addresses are preferred to external ones", Flag: preferredTypes,
			Proves: "The order of address types, read by offering addresses of all types that cannot be dialled, has InternalIP before ExternalIP and ExternalDNS. Its evidence is the order.",
			Needs:  []string{"reach.dialled"},
			run:    checkOrder,
		},
		{
			ID: "reach.port", Title: "the node's port is obeyed", Flag: "status.daemonEndpoints.kubeletEndpoint.port",
			Proves: "The port in the Node's status is dialled, and where it changes the next request goes to the new one. Its evidence has the port for Nodes that tell none (`--kubelet-port`).",
			Needs:  []string{"reach.dialled"},
			run:    checkPort,
		},
		{
			ID: "reach.ipv4", Title: "an IPv4 address is dialled", Flag: "--node-ip",
			Proves: "A Node whose address is IPv4 is reached.",
			Needs:  []string{"reach.dialled"},
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkFamily(ctx, "ipv4", "an IPv4", netip.Addr.Is4)
			},
		},
		{
			ID: "reach.ipv6", Title: "an IPv6 address is dialled", Flag: "--node-ip",
			Proves: "A Node whose address is IPv6 is reached.",
			Needs:  []string{"reach.dialled"},
			run: func(ctx context.Context, r *run) (conformance.Result, error) {
				return r.checkFamily(ctx, "ipv6", "an IPv6", netip.Addr.Is6)
			},
		},
		{
			ID: "reach.names", Title: "a name is looked up and dialled", Flag: "--node-hostname",
			Proves: "A Node whose address is a name that kube-apiserver can look up is reached.",
			Needs:  []string{"reach.dialled"},
			run:    checkNames,
		},
	}
}

// noneWanted begins what is said of a Node that has no address of a type that is looked for. (k8s.io/kubernetes:
// pkg/util/node)
const noneWanted = "no preferred addresses found"

// arrival is how long the apiserver may take to come where nothing answers its packets.
const arrival = 15 * time.Second

func checkDialled(ctx context.Context, r *run) (conformance.Result, error) {
	came, said, err := r.visited(ctx, "dialled", r.nodeIP, nil)
	if err != nil {
		return conformance.Result{}, err
	}
	if came == nil && strings.Contains(said, noneWanted) {
		result := fail("kube-apiserver looks for none of the types of address that a Node may have", preferredTypes+"=InternalIP,ExternalIP,Hostname", "answered: "+said)
		result.Flag = preferredTypes
		return result, nil
	}
	if came == nil {
		return fail(fmt.Sprintf("kube-apiserver did not come to %s", r.nodeIP),
			"fauxlet check --node-ip ADDRESS # an address of this machine that kube-apiserver can reach: not its own loopback where it runs elsewhere or in a container; open the way for TCP to this machine",
			"answered: "+said), nil
	}
	return pass(fmt.Sprintf("listened on %s, dialled from %s", came.Local, came.Remote)), nil
}

// visited has the apiserver come to a Node with these addresses. It gives the first connection that came; nil for none.
func (r *run) visited(ctx context.Context, name string, ip netip.Addr, addresses []v1.NodeAddress) (came *seen, said string, err error) {
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name, addresses: addresses}, ip: ip, certificate: r.anybodys})
	if err != nil {
		return nil, "", err
	}
	defer k.Close()
	once, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	said, err = k.logsInsecurely(once).told()
	if err != nil && once.Err() != nil && ctx.Err() == nil {
		said, err = fmt.Sprintf("nothing within %v", arrival), nil
	}
	if all := k.seen(); len(all) > 0 {
		came = &all[0]
	}
	return came, said, err
}

// how is how a connection came.
func (s *seen) how() string {
	text := "listened on " + s.Local
	for _, one := range s.Requests {
		return text + "; came: " + one.String()
	}
	return text + "; came without a request"
}

func checkUsual(ctx context.Context, r *run) (conformance.Result, error) {
	name := r.options.NodeHostname
	if name == "" {
		name = nowhere("hostname")
	}
	offered := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: r.nodeIP.String()}, {Type: v1.NodeHostName, Address: name}}
	came, said, err := r.visited(ctx, "usual", r.nodeIP, offered)
	if err != nil {
		return conformance.Result{}, err
	}
	presented := "registered with " + addressesText(offered)
	if came != nil {
		return pass(presented, came.how()), nil
	}
	return fail("a node with InternalIP and Hostname, as a kubelet registers it, is not dialled by its InternalIP, and its name is in no DNS",
		preferredTypes+"=InternalIP,ExternalIP,Hostname", presented, "answered: "+said), nil
}

// nowhere is a name for an address that nobody can look up, and nobody is asked for: an empty label is in no name. What is
// told of it has it in it.
func nowhere(name string) string { return strings.ToLower(name) + "..fauxlet-check.invalid" }

// dialledURL finds the URL that could not be dialled in what the apiserver says of it.
var dialledURL = regexp.MustCompile(`"(https?://[^"]+)"`)

// urlIn is that URL; nil: none was dialled.
func urlIn(said string) *url.URL {
	match := dialledURL.FindStringSubmatch(said)
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
		offered[i] = v1.NodeAddress{Type: t, Address: nowhere(string(t))}
	}
	n, err := r.node(ctx, nodeOptions{name: "order", addresses: offered, port: 1})
	if err != nil {
		return conformance.Result{}, err
	}
	var order []string
	said := ""
	for len(offered) > 0 {
		if said, err = n.logs(ctx, nil).told(); err != nil {
			return conformance.Result{}, err
		}
		at := urlIn(said)
		if at == nil {
			break // of those that are left none is wanted
		}
		i := slices.IndexFunc(offered, func(a v1.NodeAddress) bool { return a.Address == at.Hostname() })
		if i < 0 {
			return conformance.Result{}, fmt.Errorf("of %s, another address was dialled: %s", addressesText(offered), said)
		}
		order = append(order, string(offered[i].Type))
		offered = slices.Delete(offered, i, i+1)
		if err := n.moves(ctx, offered, 1); err != nil {
			return conformance.Result{}, err
		}
	}
	evidence := []string{"the order is " + strings.Join(order, ",")}
	if len(offered) > 0 {
		evidence = append(evidence, "never dialled: "+addressesText(offered), "answered: "+said)
	}
	internal := slices.Index(order, string(v1.NodeInternalIP))
	for i, t := range order {
		if strings.HasPrefix(t, "External") && (internal < 0 || i < internal) {
			return warn(t+" is preferred to InternalIP: what kube-apiserver and kubelets exchange leaves the cluster's network where nodes have one",
				preferredTypes+"=InternalIP,ExternalIP,Hostname", evidence...), nil
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

// moves has the Node tell other addresses and another port; 0: none.
func (n *node) moves(ctx context.Context, addresses []v1.NodeAddress, port int) error {
	// Controllers change Nodes too: this is about nothing but these fields.
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"addresses": addresses, "daemonEndpoints": v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: int32(port)}},
	}})
	if err != nil {
		return err
	}
	_, err = n.run.client.CoreV1().Nodes().Patch(ctx, n.object.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func checkPort(ctx context.Context, r *run) (conformance.Result, error) {
	var both [2]*kubelet
	for i := range both {
		var err error
		if both[i], err = r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: fmt.Sprintf("port-%d", i)}, certificate: r.anybodys}); err != nil {
			return conformance.Result{}, err
		}
		defer both[i].Close()
	}
	first, second := both[0], both[1]
	wrong := func(k *kubelet, said string) conformance.Result {
		return fail(fmt.Sprintf("the Node's port was %d, and it was not dialled", k.port()),
			"kubectl get nodes -o custom-columns=NAME:.metadata.name,PORT:.status.daemonEndpoints.kubeletEndpoint.Port", "answered: "+said)
	}
	said, err := first.logsInsecurely(ctx).told()
	if err != nil {
		return conformance.Result{}, err
	}
	if len(first.seen()) == 0 {
		return wrong(first, said), nil
	}
	if err := first.moves(ctx, stage.AddressesOfEveryType(r.nodeIP.String()), second.port()); err != nil {
		return conformance.Result{}, err
	}
	if said, err = first.logsInsecurely(ctx).told(); err != nil {
		return conformance.Result{}, err
	}
	if len(second.seen()) == 0 {
		return wrong(second, said), nil
	}
	evidence := []string{fmt.Sprintf("dialled at port %d, and at %d when the Node said so", first.port(), second.port())}
	if err := first.moves(ctx, stage.AddressesOfEveryType(nowhere("port")), 0); err != nil {
		return conformance.Result{}, err
	}
	if said, err = first.logsInsecurely(ctx).told(); err != nil {
		return conformance.Result{}, err
	}
	if at := urlIn(said); at != nil {
		evidence = append(evidence, "a Node that tells no port is dialled at "+at.Port())
	}
	return pass(evidence...), nil
}

// checkFamily has the apiserver come to an address of a family.
func (r *run) checkFamily(ctx context.Context, name, words string, of func(netip.Addr) bool) (conformance.Result, error) {
	i := slices.IndexFunc(r.addresses, of)
	if i < 0 {
		return skip("no --node-ip is " + words + " address"), nil
	}
	ip := r.addresses[i]
	came, said, err := r.visited(ctx, name, ip, stage.AddressesOfEveryType(ip.String()))
	if err != nil {
		return conformance.Result{}, err
	}
	if came == nil {
		return fail(fmt.Sprintf("kube-apiserver did not come to %s", ip), "fauxlet check --node-ip ADDRESS # "+words+" address of this machine that kube-apiserver can reach", "answered: "+said), nil
	}
	return pass(came.how()), nil
}

func checkNames(ctx context.Context, r *run) (conformance.Result, error) {
	if r.hostname == "" {
		return skip("no name of this machine is known that kube-apiserver can look up: give --node-hostname"), nil
	}
	came, said, err := r.visited(ctx, "names", r.nodeIP, stage.AddressesOfEveryType(r.hostname))
	if err != nil {
		return conformance.Result{}, err
	}
	if came == nil {
		return fail(fmt.Sprintf("kube-apiserver did not come to %s, which is to be %s", r.hostname, r.nodeIP),
			"fauxlet check --node-hostname NAME # one that kube-apiserver's resolver has, for --node-ip", "answered: "+said), nil
	}
	return pass(came.how()), nil
}
