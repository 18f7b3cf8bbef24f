package server

import (
	"net/http"
	"sync"

	"k8s.io/utils/ptr"

	"fauxlet/config"
)

// handlers has the HTTP handlers of one Server. They are grouped into types that have only the fields they need.
type handlers struct {
	podHandlers
	logHandlers
	streamHandlers
	statsHandlers
	nodeLogHandlers
	configHandlers
	processHandlers
}

// handler serves a request that has been authorized. If it returns an error, [writeError] writes the response, so
// the handler must not have written anything before.
type handler func(*handlers, http.ResponseWriter, *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(&serverOf(r).handlers, w, r); err != nil {
		writeError(w, r, err)
	}
}

// newHandlers returns the handlers of s. Its caller must have set all other fields of s.
func (s *Server) newHandlers() handlers {
	kubelet, store, machine := &s.config.Kubelet, s.options.Pods, s.options.Machine
	machine.Node, machine.CgroupRoot = s.config.NodeName, kubelet.CgroupRoot
	machine.Systemd = kubelet.CgroupDriver == "systemd"
	return handlers{
		podHandlers: podHandlers{store, s.config.Version}, configHandlers: configHandlers{s.config},
		logHandlers: logHandlers{
			pods: store, clockSkew: s.options.clockSkew, draining: s.draining,
			splitStreams: s.config.Enabled("PodLogsQuerySplitStreams"),
			ignoreStream: !s.config.Version.Has(config.LogStreams),
		},
		streamHandlers: streamHandlers{
			pods: store, draining: s.draining, errorLog: s.errorLog, webSockets: s.metrics.webSockets,
			idleTimeout: kubelet.StreamingConnectionIdleTimeout.Duration,
			translate:   s.config.Enabled("ExtendWebSocketsToKubelet"),
			expected:    &expectedStreams{},
		},
		statsHandlers: statsHandlers{
			version: s.config.Version, pods: store, machine: machine, clockSkew: s.options.clockSkew,
			usage: s.options.Usage, cgroups: !s.config.Enabled("PodAndContainerStatsFromCRI"), metrics: s.metrics,
			requests: s.options.Requests, volumes: kubelet.VolumeStatsAggPeriod.Duration > 0,
		},
		nodeLogHandlers: nodeLogHandlers{sync.OnceValues(func() (*nodeLogs, error) {
			query := s.config.Enabled("NodeLogQuery") && isTrue(kubelet.EnableSystemLogQuery)
			return newNodeLogs(s.config.NodeName, s.options.NodeLogs, query)
		})},
	}
}

func isTrue(b *bool) bool { return ptr.Deref(b, false) }
