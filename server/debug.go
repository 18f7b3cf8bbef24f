package server

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/gorilla/mux"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/server/healthz"

	"fauxlet/pods"
)

// installHealthz serves /healthz and one path for each check: those of a kubelet's server, and the one that its container
// manager adds on Linux. The node of a stand-in has no pods to keep in step and no devices, and so is always well.
func installHealthz(r *router) {
	r.buckets["healthz"] = true
	well := func(*http.Request) error { return nil }
	healthz.InstallHandler(r, healthz.PingHealthz, healthz.LogHealthz,
		healthz.NamedCheck("syncloop", well), healthz.NamedCheck("device-plugin", well))
}

// getProfile profiles the stand-in itself. (kubelet: InstallProfilingHandler)
func getProfile(_ *Server, w http.ResponseWriter, r *http.Request) error {
	switch strings.TrimPrefix(r.URL.Path, "/debug/pprof/") {
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "cmdline":
		pprof.Cmdline(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
	return nil
}

// notYet answers for a path that a kubelet serves and fauxlet does not: to those who may ask, and in words that no
// kubelet has.
func notYet(_ *Server, _ http.ResponseWriter, r *http.Request) error {
	return refuse(http.StatusNotImplemented, "fauxlet does not serve %s yet; a kubelet does", r.URL.Path)
}

// notYetInPod is notYet for a path that names a pod, of which a kubelet asks first whether it exists.
func notYetInPod(s *Server, w http.ResponseWriter, r *http.Request) error {
	vars := mux.Vars(r)
	if _, found := s.pods.Get(vars["namespace"], vars["pod"]); !found {
		return refuse(http.StatusNotFound, "pod does not exist")
	}
	return notYet(s, w, r)
}

// notYetStream is notYetInPod for exec and attach, of which a kubelet asks before that which streams are wanted.
// (k8s.io/cri-streaming, remotecommand.NewOptions, which is not worth its imports before streams are served)
func notYetStream(s *Server, w http.ResponseWriter, r *http.Request) error {
	wants := func(parameter string) bool { return r.FormValue(parameter) == "1" }
	if !wants(v1.ExecStdinParam) && !wants(v1.ExecStdoutParam) && (!wants(v1.ExecStderrParam) || wants(v1.ExecTTYParam)) {
		return refuse(http.StatusBadRequest, "you must specify at least 1 of stdin, stdout, stderr")
	}
	return notYetInPod(s, w, r)
}

// notYetInContainer is notYetInPod for a path of which a kubelet asks whether the pod has the container, too.
func notYetInContainer(s *Server, w http.ResponseWriter, r *http.Request) error {
	vars := mux.Vars(r)
	if pod, found := s.pods.Get(vars["namespace"], vars["pod"]); found && !pods.HasContainer(pod, vars["container"]) {
		return refuse(http.StatusNotFound, "container %s does not exist", vars["container"])
	}
	return notYetInPod(s, w, r)
}
