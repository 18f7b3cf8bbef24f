package admin

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// route is an endpoint of the admin API.
type route struct {
	pattern string
	handler handler
	summary string // a line in the list of routes; if it is empty, the list omits the route
	missing error  // if not nil, every request gets this error, because the server lacks an option
}

func (s *Server) routes() []route {
	const (
		filter = "?outcome=refused&user=NAME&node=NAME&path=/pods&status=4xx&since=ID-OR-TIME&limit=10" +
			"&explanation=true"
		settings = `{"decision": ID, "set": {"authentication.anonymous.enabled": "true"}}`
		request  = `{"client": NAME, "method": "GET", "path": "/pods"}`
	)
	var noFaults, noWhatIf, noSender, noTargets error
	if s.options.Faults == nil {
		noFaults = errorf(http.StatusNotImplemented, "fault injection is not enabled on this server")
	}
	if s.options.WhatIf == nil {
		noWhatIf = errorf(http.StatusNotImplemented, "what-if is not available on this server")
	}
	if s.options.Sender == nil {
		noSender = errorf(http.StatusNotImplemented, "sending requests is available in fauxlet demo only")
	}
	if s.options.Targets == nil {
		noTargets = errorf(http.StatusNotImplemented, "targets are not available on this server")
	}
	return []route{
		{"GET /api/decisions", s.getDecisions, "the most recent decisions; " + filter, nil},
		{"GET /api/decisions/{id}", s.getDecision, "one decision with its explanation", nil},
		{"GET /api/decisions/{id}/settings", s.getSettings, "settings that what-if can change", noWhatIf},
		{"GET /api/events", s.getEvents, "decisions as they are made, as an event stream; same filter", nil},
		{"GET /api/export", s.getExport, "decisions as JSON lines; same filter", nil},
		{"GET /api/rbac", s.getRBAC, "the smallest roles that allow the requests of a user; ?user=NAME", nil},
		{"POST /api/whatif", s.postWhatIf, "explain a decision with other settings; " + settings, noWhatIf},
		{"GET /api/faults", s.getFaults, "active faults", nil},
		{"POST /api/faults", s.postFault, "inject a fault", noFaults},
		{"DELETE /api/faults", s.deleteFaults, "remove all faults", noFaults},
		{"GET /api/faults/{name}", s.getFault, "one active fault", nil},
		{"DELETE /api/faults/{name}", s.deleteFault, "remove one fault", noFaults},
		{"GET /api/fault-kinds", s.getFaultKinds, "kinds of faults that can be injected", nil},
		{"GET /api/clients", s.getClients, "clients that can send requests (demo only)", noSender},
		{"POST /api/send", s.postSend, "send a request as one of the clients (demo only); " + request, noSender},
		{"GET /api/targets", s.getTargets, "the nodes, for the HTTP service discovery of Prometheus", noTargets},
		{"GET /api/build", s.getBuild, "version, and what is available", nil},
		{"GET /readyz", s.getReady, "ok once all nodes listen", nil},
		{"GET /api/{$}", s.getIndex, "this list", nil},
		{"GET /{$}", s.getIndex, "", nil},
	}
}

func (s *Server) api() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		if r.missing != nil {
			r.handler = func(http.ResponseWriter, *http.Request) error { return r.missing }
		}
		mux.Handle(r.pattern, r.handler)
	}
	return mux
}

// getIndex returns a list of the routes as text for humans.
func (s *Server) getIndex(w http.ResponseWriter, _ *http.Request) error {
	var b strings.Builder
	b.WriteString("fauxlet admin API: how this stand-in kubelet handled requests, and why.\n\n")
	for _, r := range s.routes() {
		if r.summary != "" {
			method, path, _ := strings.Cut(r.pattern, " ")
			fmt.Fprintf(&b, "%-6s %-32s %s\n", method, strings.TrimSuffix(path, "{$}"), r.summary)
		}
	}
	return writeText(w, b.String())
}

func (s *Server) getBuild(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct {
		Instance string `json:"instance"`
		Build    any    `json:"build"`
		// WhatIf and Send report whether /api/whatif and /api/send are available.
		WhatIf bool `json:"whatIf"`
		Send   bool `json:"send"`
	}{s.recorder.Instance(), s.options.Build, s.options.WhatIf != nil, s.options.Sender != nil})
}

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			return errorf(http.StatusServiceUnavailable, "%v", err)
		}
	}
	return writeText(w, "ok")
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text)
	return nil
}
