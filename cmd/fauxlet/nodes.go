package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
	"fauxlet/internal/node"
)

// nodeFlags are the flags of serve that configure nodes, in addition to the kubelet's flags.
type nodeFlags struct {
	count      int
	prefix     string
	deregister bool
	addresses  []string
	capacity   map[string]string
	metrics    string
}

func (n *nodeFlags) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.IntVar(&n.count, "nodes", 0, "number of nodes in this process, each with its own name, port and pods. Ports "+
		"are --port and those after it, or free ones with --port 0. With 0 there is one node, "+
		"whose name has no number: the host name or --hostname-override")
	flags.StringVar(&n.prefix, "node-name-prefix", "", "beginning of the names of --nodes; a number from 0 follows "+
		"(default: the host name or --hostname-override, and a dash)")
	flags.BoolVar(&n.deregister, "deregister-node", false,
		"delete the Node when the process stops, instead of leaving it not ready")
	flags.StringArrayVar(&n.addresses, "node-address", nil, "additional address of the Node, as in "+
		"ExternalIP=203.0.113.7; the types are ExternalIP, InternalIP, ExternalDNS, InternalDNS and Hostname. May be "+
		"repeated")
	flags.StringToStringVar(&n.capacity, "capacity", nil, "capacity that the Node reports, as in "+
		"cpu=8,memory=32Gi,example.com/gpu=2 (default cpu=8,memory=32Gi,ephemeral-storage=200Gi)")
	flags.StringVar(&n.metrics, "metrics-address", "", "host and port, as in 127.0.0.1:9250, where the metrics of all "+
		"nodes are served with the label node, over plain HTTP and without authentication. Each node also serves its "+
		"own metrics on its kubelet ports")
	helptext.UnderHeading(flags, "Nodes in a cluster", "nodes", "node-name-prefix", "deregister-node", "node-address",
		"capacity", "metrics-address")
}

func (n *nodeFlags) options() (host.Nodes, error) {
	o := host.Nodes{Count: n.count, NamePrefix: n.prefix, Deregister: n.deregister}
	var err error
	if o.Addresses, err = n.nodeAddresses(); err != nil {
		return o, err
	}
	o.Capacity, err = n.nodeCapacity()
	return o, err
}

func (n *nodeFlags) nodeAddresses() ([]v1.NodeAddress, error) {
	var all []v1.NodeAddress
	for _, text := range n.addresses {
		kind, address, _ := strings.Cut(text, "=")
		switch v1.NodeAddressType(kind) {
		case v1.NodeInternalIP, v1.NodeExternalIP:
			if problems := validation.IsValidIP(nil, address); len(problems) > 0 {
				return nil, fmt.Errorf("--node-address: %q: %q is not an IP address", text, address)
			}
		case v1.NodeInternalDNS, v1.NodeExternalDNS, v1.NodeHostName:
			if problems := validation.IsDNS1123Subdomain(address); len(problems) > 0 {
				return nil, fmt.Errorf("--node-address: %q: %s", text, problems[0])
			}
		default:
			return nil, fmt.Errorf("--node-address: %q: must be a type and an address, as in ExternalIP=203.0.113.7; "+
				"the types are ExternalIP, InternalIP, ExternalDNS, InternalDNS and Hostname", text)
		}
		all = append(all, v1.NodeAddress{Type: v1.NodeAddressType(kind), Address: address})
	}
	return all, nil
}

// nodeCapacity returns the default capacity of a Node, changed by the values of --capacity.
func (n *nodeFlags) nodeCapacity() (v1.ResourceList, error) {
	capacity := maps.Clone(node.DefaultCapacity())
	for name, text := range n.capacity {
		if problems := validation.IsQualifiedName(name); len(problems) > 0 {
			return nil, fmt.Errorf("--capacity: %q: %s", name, problems[0])
		}
		quantity, err := resource.ParseQuantity(text)
		if err != nil || quantity.Sign() < 0 {
			return nil, fmt.Errorf("--capacity: %s: %q is not an amount; examples: 8, 500m, 32Gi", name, text)
		}
		if name == string(v1.ResourcePods) {
			return nil, fmt.Errorf("--capacity: pods: %q: set the number of pods with --max-pods (maxPods)", text)
		}
		capacity[v1.ResourceName(name)] = quantity
	}
	return capacity, nil
}
