package server

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/healthz"

	"fauxlet/config"
)

// installHealthz serves /healthz and one path for each check. It has the checks of a kubelet on Linux. All checks
// always succeed, because a stand-in kubelet has no pod workers and no devices.
func installHealthz(r *router, version config.Version) {
	r.buckets["healthz"] = false
	well := func(*http.Request) error { return nil }
	checks := []healthz.HealthChecker{healthz.PingHealthz, healthz.LogHealthz, healthz.NamedCheck("syncloop", well)}
	if version.Has(config.MoreHealthChecks) {
		checks = append(checks, healthz.NamedCheck("device-plugin", well))
	}
	healthz.InstallHandler(r, checks...)
}

// healthzRetry is how long a kubelet waits before it tries to open healthzPort again.
const healthzRetry = 5 * time.Second

// serveHealthz serves /healthz in plain HTTP on healthzPort until ctx is done. It has only the check "ping". If the
// port cannot be opened, it logs a warning and tries again, and the Server continues, as in a kubelet. (kubelet:
// cmd/kubelet/app/server.go, run)
func (s *Server) serveHealthz(ctx context.Context) {
	kubelet := &s.config.Kubelet
	handler := http.NewServeMux()
	healthz.InstallHandler(handler)
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		listener, err := listen(kubelet.HealthzBindAddress, *kubelet.HealthzPort, "healthzPort")
		if err != nil {
			s.logger.Warn("cannot serve /healthz on healthzPort: "+err.Error(),
				zap.Duration("retryAfter", healthzRetry))
			return
		}
		server := healthzServer(handler)
		server.ErrorLog = s.errorLog()
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if err := server.Serve(listener); ctx.Err() == nil {
			s.logger.Warn("the server of /healthz has failed", zap.Error(err))
		}
	}, healthzRetry)
}

func healthzServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout}
}

// readHeaderTimeout limits how long a client of healthzPort can keep a connection open without sending a request.
const readHeaderTimeout = time.Minute
