package server

import (
	"encoding/json"
	"net/http"

	"github.com/gorilla/mux"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// getPods lists the pods of the node. (kubelet: Server.getPods)
func getPods(s *Server, w http.ResponseWriter, _ *http.Request) error {
	return writePods(w, s.pods.List())
}

// getRunningPods lists the pods that the container runtime knows. (kubelet: Server.getRunningPods)
func getRunningPods(s *Server, w http.ResponseWriter, _ *http.Request) error {
	return writePods(w, s.pods.Running())
}

// getAllocatedPods lists the pods that the node has admitted, without their status. (kubelet: Server.getAllocatedPods)
func getAllocatedPods(s *Server, w http.ResponseWriter, _ *http.Request) error {
	pods := s.pods.List()
	for i, pod := range pods {
		pods[i] = withoutStatus(pod)
	}
	return writePods(w, pods)
}

func getAllocatedPod(s *Server, w http.ResponseWriter, r *http.Request) error {
	vars := mux.Vars(r)
	if vars["namespace"] == "" || vars["pod"] == "" {
		return refuse(http.StatusBadRequest, "podNamespace and podID are required")
	}
	pod, found := s.pods.Get(vars["namespace"], vars["pod"])
	if !found || vars["uid"] != "" && string(pod.UID) != vars["uid"] {
		return refuse(http.StatusNotFound, "pod not found")
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

func writePods(w http.ResponseWriter, pods []*v1.Pod) error {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	for _, pod := range pods {
		list.Items = append(list.Items, *pod)
	}
	return writeJSON(w, &list)
}

// writeJSON writes an object as the codec of an API does: one line, with a line feed.
func writeJSON(w http.ResponseWriter, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(data, '\n'))
	return nil
}

// getConfigz shows the configuration in effect. (k8s.io/component-base/configz; written here because that one knows a
// single kubelet in each process)
func getConfigz(s *Server, w http.ResponseWriter, _ *http.Request) error {
	data, err := s.config.Configz()
	if err != nil {
		return &answer{status: http.StatusInternalServerError, body: "error marshaling json: " + err.Error(), plain: true}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(data)
	return nil
}
