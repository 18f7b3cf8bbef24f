package server

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/logs"

	"fauxlet/internal/pods"
)

// installHealthz serves /healthz and one path for each check: those of a kubelet's server, and the one that its container
// manager adds on Linux. The node of a stand-in has no pods to keep in step and no devices, and so is always well.
func installHealthz(r *router) {
	r.buckets["healthz"] = false
	well := func(*http.Request) error { return nil }
	healthz.InstallHandler(r, healthz.PingHealthz, healthz.LogHealthz,
		healthz.NamedCheck("syncloop", well), healthz.NamedCheck("device-plugin", well))
}

// processHandlers serve what concerns the whole process of the stand-in.
type processHandlers struct{}

// getProfile profiles the stand-in itself. (kubelet: InstallProfilingHandler)
func (processHandlers) getProfile(w http.ResponseWriter, r *http.Request) error {
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

// putVerbosity changes how much the k8s.io libraries log. (kubelet: InstallDebugFlagsHandler)
func (processHandlers) putVerbosity(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxVerbosityBody)
	routes.StringFlagPutHandler(setVerbosity).ServeHTTP(w, r)
	return nil
}

const (
	maxVerbosityBody = 1 << 20
	// maxVerbosity is the most that is logged: from 8 on the client of the apiserver would log the tokens it asks about.
	maxVerbosity = 7
)

// setVerbosity answers as a kubelet's does, and goes no further than maxVerbosity.
func setVerbosity(value string) (string, error) {
	level, err := strconv.ParseInt(value, 10, 32)
	if err != nil || level <= maxVerbosity {
		return logs.GlogSetter(value)
	}
	if _, err := logs.GlogSetter(strconv.Itoa(maxVerbosity)); err != nil {
		return "", err
	}
	return "successfully set klog.logging.verbosity to " + value, nil
}

// postCheckpoint asks for the checkpoint of a container, which a container runtime may not be able to make; this one is
// not. (kubelet: Server.checkpoint, Kubelet.CheckpointContainer)
func (h *podHandlers) postCheckpoint(_ http.ResponseWriter, r *http.Request) error {
	at, err := locate(h.pods, r)
	if err != nil {
		return err
	}
	if pod, _ := h.pods.Get(at.namespace, at.pod); !pods.HasContainer(pod, at.container) {
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
	return statusErrorf(http.StatusInternalServerError, "checkpointing of %s/%s/%s failed (%s)", at.namespace, at.pod, at.container, why)
}

// healthzRetry is how long a kubelet waits before it tries to open healthzPort again.
const healthzRetry = 5 * time.Second

// serveHealthz serves /healthz, with nothing to check but that it answers, in the clear on healthzPort until ctx is done.
// A port that cannot be had is told and tried again, as a kubelet does: it is no reason to stop.
// (kubelet: cmd/kubelet/app/server.go, run)
func (s *Server) serveHealthz(ctx context.Context) {
	kubelet := &s.config.Kubelet
	if kubelet.HealthzPort == nil || *kubelet.HealthzPort <= 0 {
		return
	}
	handler := http.NewServeMux()
	healthz.InstallHandler(handler)
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		listener, err := listen(kubelet.HealthzBindAddress, *kubelet.HealthzPort, "healthzPort")
		if err != nil {
			s.logger.Warn("there is no /healthz on its own port: "+err.Error(), zap.Duration("again", healthzRetry))
			return
		}
		server := &http.Server{Handler: handler, ErrorLog: s.errorLog(), ReadHeaderTimeout: readHeaderTimeout}
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if err := server.Serve(listener); ctx.Err() == nil {
			s.logger.Warn("healthz server has ended", zap.Error(err))
		}
	}, healthzRetry)
}

// readHeaderTimeout keeps a silent client of the healthz port from holding a connection for ever.
const readHeaderTimeout = time.Minute
