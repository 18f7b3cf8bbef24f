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
	serve := profiles[strings.TrimPrefix(r.URL.Path, "/debug/pprof/")]
	if serve == nil {
		serve = pprof.Index
	}
	// The struct hides the other methods of w, so that pprof cannot set a write deadline; in a kubelet it cannot
	// either. With a very large number of seconds in the request, the deadline would be in the past.
	serve(struct{ http.ResponseWriter }{w}, r)
	return nil
}

// profiles are the profiles that pprof.Index does not serve.
var profiles = map[string]http.HandlerFunc{
	"profile": pprof.Profile, "symbol": pprof.Symbol, "cmdline": pprof.Cmdline, "trace": pprof.Trace,
}

// putVerbosity sets the log verbosity of the k8s.io libraries. (kubelet: InstallDebugFlagsHandler)
func (processHandlers) putVerbosity(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxVerbosityBody)
	routes.StringFlagPutHandler(setVerbosity).ServeHTTP(w, r)
	return nil
}

const (
	maxVerbosityBody = 1 << 20
	// maxVerbosity is the highest verbosity that can be set. From 8 on, client-go would log the tokens in TokenReviews.
	maxVerbosity = 7
)

// setVerbosity sets the verbosity, but at most to maxVerbosity. For higher values it still returns the kubelet's text.
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
