package server

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"

	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/logs"
)

// processHandlers serve profiles and log settings, which belong to the process and not to one Server.
type processHandlers struct{}

// getProfile serves profiles of the process. (kubelet: InstallProfilingHandler)
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

// putVerbosity sets the log verbosity of the k8s.io libraries. (kubelet: InstallDebugFlagsHandler)
func (processHandlers) putVerbosity(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxVerbosityBody)
	routes.StringFlagPutHandler(setVerbosity).ServeHTTP(w, r)
	return nil
}

const (
	maxVerbosityBody = 1 << 20
	// maxVerbosity is the highest verbosity that can be set. From 8 on, client-go would log the tokens in
	// TokenReviews.
	maxVerbosity = 7
)

// setVerbosity sets the verbosity, but at most to maxVerbosity. For a higher value it also returns the kubelet's
// message.
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
