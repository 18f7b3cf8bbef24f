package host

import (
	"cmp"
	"math"

	"golang.org/x/sync/errgroup"
)

// concurrentStarts limits how many nodes start at the same time. Each starting node may wait for the cluster to
// approve its certificate.
const concurrentStarts = 64

// nodeCount returns the number of nodes that a Scenario file or Options.Nodes requires.
func (h *Host) nodeCount(file *contents) int { return cmp.Or(file.Nodes, h.options.Nodes.Count, 1) }

// checkPorts returns an error if there are not enough ports for the nodes that a Scenario file requires.
func (h *Host) checkPorts(file *contents) error {
	count := h.nodeCount(file)
	if first := int(h.options.Config.Kubelet.Port); first != 0 && first+count-1 > math.MaxUint16 && !h.options.Nodes.None {
		return optionErrorf("Config.Kubelet.Port", "%d: the last of %d nodes would listen on %d, but the highest "+
			"port is %d; give a lower port, or 0 for free ports", first, count, first+count-1, math.MaxUint16)
	}
	return nil
}

// resize starts or stops nodes until there are as many nodes as the Scenario file or Options.Nodes requires.
func (h *Host) resize() error {
	file := h.scenario.current.Load()
	if err := h.checkPorts(file); err != nil {
		return err
	}
	count := h.nodeCount(file)
	missing, surplus := h.compare(count)
	if len(missing) > 0 && len(h.each()) == 0 { // start the first node alone: the other nodes share parts of its server
		if err := h.start(missing[0]); err != nil {
			return err
		}
		missing = missing[1:]
	}
	var work errgroup.Group
	work.SetLimit(concurrentStarts)
	for _, i := range missing {
		work.Go(func() error { return h.start(i) })
	}
	for _, n := range surplus {
		work.Go(func() error { return h.remove(n) })
	}
	return work.Wait()
}

// The method "compare" compares the running nodes with the given number of nodes. It returns the indexes of the nodes
// that must start, and the surplus nodes. It also removes the surplus nodes from the host's nodes.
func (h *Host) compare(count int) (missing []int, surplus []*Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wanted := make(map[string]bool, count)
	for i := range count {
		name := h.options.nodeName(i)
		wanted[name] = true
		if h.nodes[name] == nil {
			missing = append(missing, i)
		}
	}
	for name, n := range h.nodes {
		if !wanted[name] {
			surplus = append(surplus, n)
			delete(h.nodes, name)
		}
	}
	return missing, surplus
}

// The method "remove" deletes the Node object of a node, if it has one, and then stops the node and waits for it.
func (h *Host) remove(n *Node) error {
	defer func() { <-n.stopped }()
	defer n.stop()
	if !n.registered() {
		return nil
	}
	return n.cluster.fleet.Remove(h.running, n.Name())
}
