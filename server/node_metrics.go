package server

import (
	goruntime "runtime"
	"strings"

	v1 "k8s.io/api/core/v1"

	"fauxlet/config"
	"fauxlet/internal/podcounts"
	"fauxlet/internal/podstats"
)

// nodeMetrics returns the kubelet's metrics about the node, its pods and volumes, and its requests to the apiserver.
// They are computed for each scrape, so that a node that is not scraped needs no registry for them. (kubelet:
// pkg/kubelet/metrics)
func (h *statsHandlers) nodeMetrics() exposition {
	metrics, all := exposition{}, h.pods.List()
	metrics.Gauge("kubelet_node_name", "[ALPHA] The node's name. The count is always 1.", 1, "node", h.machine.Node)
	metrics.buildInfo(h.version)
	h.pods.Counts().Write(metrics, all)
	h.requests.Write(metrics)
	if h.volumes {
		metrics.volumes(all)
	}
	return metrics
}

// buildInfo adds the version of the kubelet. The commit and the date of its build are not known.
func (e exposition) buildInfo(version config.Version) {
	number := strings.Split(version.String(), ".")
	e.Gauge("kubernetes_build_info", "[BETA] A metric with a constant '1' value labeled by major, minor, git version, "+
		"git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and "+
		"platform on which it is running.", 1, "build_date", "", "compiler", goruntime.Compiler, "git_commit", "",
		"git_tree_state", "", "git_version", version.GitVersion(), "go_version", goruntime.Version(), "major", number[0],
		"minor", number[1], "platform", goruntime.GOOS+"/"+goruntime.GOARCH)
}

// The method "volumes" adds the usage of the volumes that have a PersistentVolumeClaim. A claim that several pods use
// appears once. (kubelet: pkg/kubelet/metrics/collectors/volume_stats.go)
func (e exposition) volumes(all []*v1.Pod) {
	type claim struct{ namespace, name string }
	seen := map[claim]bool{}
	for _, pod := range all {
		if !podcounts.IsRunning(pod) {
			continue
		}
		for _, v := range podstats.ClaimedVolumes(pod) {
			of := claim{pod.Namespace, v.Claim}
			if seen[of] {
				continue
			}
			seen[of] = true
			gauge := func(name, help string, value uint64) {
				e.Gauge("kubelet_volume_stats_"+name, "[ALPHA] "+help, float64(value), "namespace", of.namespace,
					"persistentvolumeclaim", of.name)
			}
			gauge("capacity_bytes", "Capacity in bytes of the volume", v.Capacity)
			gauge("available_bytes", "Number of available bytes in the volume", v.Available)
			gauge("used_bytes", "Number of used bytes in the volume", v.Used)
			gauge("inodes", "Maximum number of inodes in the volume", v.Inodes)
			gauge("inodes_free", "Number of free inodes in the volume", v.InodesFree)
			gauge("inodes_used", "Number of used inodes in the volume", v.InodesUsed)
		}
	}
}
