package server

import (
	"net/http"
	"strconv"

	"fauxlet/internal/pods"
)

// postCheckpoint answers as a kubelet whose container runtime does not implement checkpoints.
// (kubelet: Server.checkpoint, Kubelet.CheckpointContainer)
func (h *podHandlers) postCheckpoint(_ http.ResponseWriter, r *http.Request) error {
	at, pod, err := locate(h.pods, r)
	if err != nil {
		return err
	}
	if !pods.HasContainer(pod, at.container) {
		return statusErrorf(http.StatusNotFound, "container %s does not exist", at.container)
	}
	if timeouts := r.URL.Query()["timeout"]; len(timeouts) > 0 {
		if _, err := strconv.ParseInt(timeouts[len(timeouts)-1], 10, 64); err != nil {
			return statusErrorf(http.StatusNotFound, "cannot parse value of timeout parameter")
		}
	}
	why := "rpc error: code = Unimplemented desc = method CheckpointContainer not implemented"
	if !h.pods.IsRunning(at.namespace, at.pod, at.container) {
		why = "container " + at.container + " not found"
	}
	return statusErrorf(http.StatusInternalServerError, "checkpointing of %s/%s/%s failed (%s)", at.namespace,
		at.pod, at.container, why)
}
