package admin

import (
	"net"
	"net/http"
)

// TargetGroup is one entry of /api/targets, in the format of the HTTP service discovery of Prometheus.
type TargetGroup struct {
	Targets []string          `json:"targets"` // addresses, each as host and port
	Labels  map[string]string `json:"labels"`
}

// getTargets returns the nodes of this process as targets for Prometheus. A node that listens on all addresses of the
// machine, and has no Node object with an address, gets the address at which this request reached the Server.
func (s *Server) getTargets(w http.ResponseWriter, r *http.Request) error {
	reached, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	var ip string
	if tcp, ok := reached.(*net.TCPAddr); ok {
		ip = tcp.IP.String()
	}
	return writeJSON(w, http.StatusOK, s.options.Targets(ip))
}
