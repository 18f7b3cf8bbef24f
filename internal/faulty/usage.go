package faulty

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
	"fauxlet/scenario"
)

// Usage decorates the resource usage of a container. If a memory-heavy fault applies to the container, the returned
// usage has the memory that the fault specifies. A request that measures several containers counts as one application
// of the fault.
func (n *Node) Usage(ctx context.Context, pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage {
	target := n.podTarget(pod.Namespace, pod.Name, container)
	heavy := n.faults.Matching(&target, faults.MemoryHeavy)
	if len(heavy) == 0 {
		return usage
	}
	usage.Memory = heavy[0].Memory
	if d := authchain.FromContext(ctx); d == nil || !slices.Contains(d.AffectedBy, heavy[0].Name) {
		heavy[0].Apply(&target)
		authchain.AddAffectedBy(ctx, heavy[0].Name)
	}
	return usage
}
