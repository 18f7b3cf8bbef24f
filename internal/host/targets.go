package host

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/admin"
)

// targets returns one target for each node, sorted by name. The labels are like those of the role "node" of Prometheus'
// service discovery for Kubernetes: the label "instance" is the name of the node. A node that listens on all addresses
// has the address of its Node object, and without such an address the argument "otherwise".
func (h *Host) targets(otherwise string) []admin.TargetGroup {
	groups := []admin.TargetGroup{} // the JSON form of an empty list must not be null
	for _, n := range h.each() {
		scheme := "https"
		address, readOnly := n.Addresses()
		if address == "" {
			scheme, address = "http", readOnly
		}
		if address == "" {
			continue
		}
		if listening, err := netip.ParseAddrPort(address); err == nil && listening.Addr().IsUnspecified() {
			_, port, _ := net.SplitHostPort(address)
			address = net.JoinHostPort(cmp.Or(n.internalIP(), otherwise), port)
		}
		groups = append(groups, admin.TargetGroup{Targets: []string{address},
			Labels: map[string]string{"__scheme__": scheme, "instance": n.name, "node": n.name}})
	}
	slices.SortFunc(groups, func(a, b admin.TargetGroup) int { return cmp.Compare(a.Labels["node"], b.Labels["node"]) })
	return groups
}

// internalIP returns the first address of type InternalIP of the Node object. It is empty if there is none.
func (n *Node) internalIP() string {
	if !n.registered() {
		return ""
	}
	for _, address := range n.cluster.fleet.Addresses(n.name) {
		if address.Type == v1.NodeInternalIP {
			return address.Address
		}
	}
	return ""
}
