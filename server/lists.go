package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"github.com/gorilla/mux"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/config"
	"fauxlet/internal/pods"
)

// podHandlers serve the lists of pods, and checkpoints.
type podHandlers struct {
	pods    *pods.Store
	version config.Version
}

// getPods lists the pods of the node. (kubelet: Server.getPods)
func (h *podHandlers) getPods(w http.ResponseWriter, _ *http.Request) error {
	return writePods(w, h.pods.List())
}

// getRunningPods lists the pods with running containers. (kubelet: Server.getRunningPods)
func (h *podHandlers) getRunningPods(w http.ResponseWriter, _ *http.Request) error {
	if !h.version.Has(config.OmitsZeroTimes) {
		w = nullTimes{w}
	}
	return writePods(w, h.pods.Running())
}

// nullTimes adds the field creationTimestamp to running pods, which have no creation time.
type nullTimes struct{ http.ResponseWriter }

var lastOfMetadata = regexp.MustCompile(`("metadata":\{[^{}]*"uid":"[^"]*")\}`)

func (w nullTimes) Write(data []byte) (int, error) {
	_, err := w.ResponseWriter.Write(lastOfMetadata.ReplaceAll(data, []byte(`$1,"creationTimestamp":null}`)))
	return len(data), err
}

// getAllocatedPods lists the pods that the node has admitted, without their status. (kubelet: Server.getAllocatedPods)
func (h *podHandlers) getAllocatedPods(w http.ResponseWriter, _ *http.Request) error {
	all := h.pods.List()
	for i, pod := range all {
		all[i] = withoutStatus(pod)
	}
	return writePods(w, all)
}

func (h *podHandlers) getAllocatedPod(w http.ResponseWriter, r *http.Request) error {
	vars := mux.Vars(r)
	if vars["namespace"] == "" || vars["pod"] == "" {
		return statusErrorf(http.StatusBadRequest, "podNamespace and podID are required")
	}
	pod, found := h.pods.Get(vars["namespace"], vars["pod"])
	if !found || vars["uid"] != "" && string(pod.UID) != vars["uid"] {
		return statusErrorf(http.StatusNotFound, "pod not found")
	}
	pod = withoutStatus(pod)
	pod.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	return writeJSON(w, pod)
}

func withoutStatus(pod *v1.Pod) *v1.Pod {
	copied := *pod
	copied.Status = v1.PodStatus{}
	return &copied
}

func writePods(w http.ResponseWriter, all []*v1.Pod) error {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	for _, pod := range all {
		list.Items = append(list.Items, *pod)
	}
	return writeJSON(w, &list)
}

// writeJSON writes an object as an API codec does: on one line with a final line feed.
func writeJSON(w http.ResponseWriter, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(data, '\n'))
	return nil
}

// configHandlers serve /configz.
type configHandlers struct{ config *config.Config }

// getConfigz serves the configuration in effect. It replaces k8s.io/component-base/configz, which serves only one
// configuration per process.
func (h *configHandlers) getConfigz(w http.ResponseWriter, _ *http.Request) error {
	data, err := h.config.Configz()
	if err != nil {
		return plainError(http.StatusInternalServerError, fmt.Errorf("error marshaling json: %w", err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(data)
	return nil
}
