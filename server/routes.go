package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/mux"
	"k8s.io/component-base/metrics/prometheus/slis"
)

// handler serves a request that has passed the chain, or returns the error that says what to answer instead.
type handler func(*Server, http.ResponseWriter, *http.Request) error

// service is a part of the kubelet's API: a first path segment, with what is below it.
//
// A kubelet's paths go through two routers, and each says "not found" in its own words. The first looks at the prefix
// before anybody is asked who they are: it cleans paths by redirection, and answers `404 page not found` where no
// service is. The second, behind the chain, knows paths and methods, and answers `404: Page Not Found` and
// `405: Method Not Allowed`. A service whose exact is set stands in the first router alone: that path, any method.
type service struct {
	prefix string
	exact  bool
	// readOnly: it stands on the read-only port too, where nobody is asked anything.
	readOnly bool
	// bucket is the service's name in the `path` label of the metrics; empty: its prefix.
	bucket string
	// json: the service makes JSON, and refuses a client that does not accept it. The others say of nothing that they make
	// it, and so refuse a client that does not accept everything.
	json   bool
	routes []route
	// when says whether the configuration has the service; nil: always.
	when func(*Server) bool
	// debug: the service is one of the debugging handlers (enableDebuggingHandlers).
	debug bool
}

// route is a path below a service, in gorilla/mux's language, with its methods. In an exact service both are empty.
type route struct {
	methods []string
	path    string
	serve   handler
}

const (
	container    = "/{namespace:[^/]*}/{pod:[^/]*}/{container:[^/]*}"
	containerUID = "/{namespace:[^/]*}/{pod:[^/]*}/{uid:[^/]*}/{container:[^/]*}"
	pod          = "/{namespace:[^/]*}/{pod:[^/]*}"
	podUID       = "/{namespace:[^/]*}/{pod:[^/]*}/{uid:[^/]*}"
)

var (
	get     = []string{http.MethodGet}
	post    = []string{http.MethodPost}
	getPost = []string{http.MethodGet, http.MethodPost}
)

// services is all that a kubelet serves. (kubelet: pkg/kubelet/server/server.go, InstallAuthNotRequiredHandlers,
// InstallAuthRequiredHandlers, InstallSystemLogHandler, InstallProfilingHandler, InstallDebugFlagsHandler)
var services = []service{
	{prefix: "/pods", readOnly: true, json: true, routes: []route{{get, "", getPods}}},
	{prefix: "/stats/", readOnly: true, json: true, routes: []route{{getPost, "/summary", getStatsSummary}}},
	{prefix: "/metrics", exact: true, readOnly: true, routes: []route{{serve: getMetrics}}},
	{prefix: "/metrics/cadvisor", exact: true, readOnly: true, routes: []route{{serve: getCadvisorMetrics}}},
	{prefix: "/metrics/resource", exact: true, readOnly: true, routes: []route{{serve: getResourceMetrics}}},
	{prefix: "/metrics/probes", exact: true, readOnly: true, routes: []route{{serve: getProbeMetrics}}},

	{prefix: "/containerLogs", debug: true, routes: []route{{get, container, getContainerLogs}}},
	{prefix: "/run", debug: true, routes: []route{{post, container, postRun}, {post, containerUID, postRun}}},
	{prefix: "/exec", debug: true, routes: []route{{getPost, container, getExec}, {getPost, containerUID, getExec}}},
	{prefix: "/attach", debug: true, routes: []route{{getPost, container, getAttach}, {getPost, containerUID, getAttach}}},
	{prefix: "/portForward", debug: true, routes: []route{{getPost, pod, getPortForward}, {getPost, podUID, getPortForward}}},
	{prefix: "/runningpods/", debug: true, json: true, routes: []route{{get, "", getRunningPods}}},
	{prefix: "/checkpoint/", debug: true, json: true, when: gate("ContainerCheckpoint"), routes: []route{{post, container, postCheckpoint}}},
	{prefix: "/configz", exact: true, debug: true, routes: []route{{serve: getConfigz}}},
	{prefix: "/allocatedPods", debug: true, json: true, when: gate("KubeletAllocatedPodsEndpoint"), routes: []route{
		{get, "", getAllocatedPods}, {get, pod, getAllocatedPod}, {get, podUID, getAllocatedPod}}},

	{prefix: "/logs/", debug: true, when: (*Server).serveSystemLogs, routes: []route{{get, "", getNodeLogs}, {get, "/{path:.*}", getNodeLogs}}},
	{prefix: "/logs/", exact: true, debug: true, when: not((*Server).serveSystemLogs),
		routes: []route{{serve: disabled("logs endpoint is disabled.")}}},
	{prefix: "/debug/pprof/", bucket: "debug", debug: true, when: (*Server).serveProfiles, routes: []route{{get, "/{path:.+}", getProfile}}},
	{prefix: "/debug/pprof/", exact: true, bucket: "debug", debug: true, when: not((*Server).serveProfiles),
		routes: []route{{serve: disabled("profiling endpoint is disabled.")}}},
	{prefix: "/debug/flags/v", exact: true, bucket: "debug", debug: true, when: (*Server).serveDebugFlags, routes: []route{{serve: putVerbosity}}},
	{prefix: "/debug/flags/v", exact: true, bucket: "debug", debug: true, when: not((*Server).serveDebugFlags),
		routes: []route{{serve: disabled("flags endpoint is disabled.")}}},
}

// disabledPaths answer 405 where the debugging handlers are off. (kubelet: InstallDebuggingDisabledHandlers)
var disabledPaths = []string{
	"/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/debug/pprof/", "/logs/",
}

func gate(name string) func(*Server) bool {
	return func(s *Server) bool { return s.config.Enabled(name) }
}

func not(when func(*Server) bool) func(*Server) bool {
	return func(s *Server) bool { return !when(s) }
}

func (s *Server) serveSystemLogs() bool  { return isTrue(s.config.Kubelet.EnableSystemLogHandler) }
func (s *Server) serveProfiles() bool    { return isTrue(s.config.Kubelet.EnableProfilingHandler) }
func (s *Server) serveDebugFlags() bool  { return isTrue(s.config.Kubelet.EnableDebugFlagsHandler) }
func (s *Server) debuggingEnabled() bool { return isTrue(s.config.Kubelet.EnableDebuggingHandlers) }

// router is the first of the two routers, with what is registered in it. Servers that are alike share it: whose a request
// is, its context says.
type router struct {
	mux *http.ServeMux
	// open: nobody is asked who they are.
	open bool
	// handled are the paths of the services that stand in this router alone, in the order in which a kubelet has them.
	handled []string
	// buckets are the paths that the metrics tell apart.
	buckets map[string]bool
}

// port is what stands on one of a Server's ports.
type port struct {
	server *Server
	routes *router
	// series has the metrics of each method and path.
	series sync.Map
}

func (s *Server) newPort(routes *router) *port { return &port{server: s, routes: routes} }

type portKey struct{}

func withPort(ctx context.Context, p *port) context.Context {
	return context.WithValue(ctx, portKey{}, p)
}

// serverOf is the Server that a request is for, which each request has.
func serverOf(r *http.Request) *Server { return r.Context().Value(portKey{}).(*port).server }

// routes puts the services of a port together.
func (s *Server) routes(readOnly bool) *router {
	r := &router{mux: http.NewServeMux(), open: readOnly, buckets: map[string]bool{}}
	installHealthz(r)
	slis.SLIMetricsWithReset{}.Install(r)

	debugging := !readOnly && s.debuggingEnabled()
	for i := range services {
		service := &services[i]
		if service.debug && !debugging || service.when != nil && !service.when(s) {
			continue
		}
		r.install(service)
	}
	if debugging {
		r.installZPages(s.config)
	} else {
		refused := disabled("Debug endpoints are disabled.")
		for _, path := range disabledPaths {
			// A kubelet calls /debug/pprof/ "pprof" here, as if that were the first part of its path.
			r.install(&service{prefix: path, exact: true, bucket: strings.Trim(strings.TrimPrefix(path, "/debug"), "/"), routes: []route{{serve: refused}}})
		}
	}
	return r
}

func (r *router) ServeHTTP(w http.ResponseWriter, request *http.Request) { r.mux.ServeHTTP(w, request) }

// Handle registers a handler of a k8s.io library, behind the chain where there is one.
func (r *router) Handle(path string, handler http.Handler) {
	r.handled = append(r.handled, path)
	r.mux.Handle(path, r.guarded(func(w http.ResponseWriter, request *http.Request) error {
		handler.ServeHTTP(w, request)
		return nil
	}))
}

func (r *router) install(service *service) {
	bucket := service.bucket
	if bucket == "" {
		bucket = strings.Trim(service.prefix, "/")
	}
	r.buckets[bucket] = true
	if service.exact {
		serve := service.routes[0].serve
		r.handled = append(r.handled, service.prefix)
		r.mux.Handle(service.prefix, r.guarded(func(w http.ResponseWriter, request *http.Request) error {
			return serve(serverOf(request), w, request)
		}))
		return
	}
	second := r.secondRouter(service)
	guarded := r.guarded(func(w http.ResponseWriter, request *http.Request) error {
		var match mux.RouteMatch
		second.Match(trimmed(request), &match) // which always finds a handler: that of not found is one
		match.Handler.ServeHTTP(w, mux.SetURLVars(request, match.Vars))
		return nil
	})
	r.mux.Handle(service.prefix, guarded)
	if !strings.HasSuffix(service.prefix, "/") {
		r.mux.Handle(service.prefix+"/", guarded)
	}
}

// guarded puts the chain before next, on the secure port.
func (r *router) guarded(next func(http.ResponseWriter, *http.Request) error) http.Handler {
	authorized := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if err := next(w, request); err != nil {
			writeError(w, request, err)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		s := serverOf(request)
		if !r.open {
			if _, err := s.chain.Load().Decide(request); err != nil {
				writeError(w, request, err)
				return
			}
		}
		s.wrapHandler(authorized).ServeHTTP(w, request)
	})
}

// secondRouter knows the paths and methods below a service.
func (r *router) secondRouter(service *service) *mux.Router {
	router := mux.NewRouter().SkipClean(true)
	router.NotFoundHandler = answering(errPageNotFound)
	prefix := strings.TrimSuffix(service.prefix, "/")
	produces := ""
	if service.json {
		produces = "application/json"
	}
	notAcceptable := refuse(http.StatusNotAcceptable, "406: Not Acceptable\n\nAvailable representations: %s", produces)
	for _, route := range service.routes {
		serve := route.serve
		methods := slices.Clone(route.methods) // gorilla/mux writes to it, and the table belongs to all Servers
		router.Path(prefix + route.path).Methods(methods...).HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if !accepts(request, produces) {
				writeError(w, request, notAcceptable)
				return
			}
			if err := serve(serverOf(request), w, request); err != nil {
				writeError(w, request, err)
			}
		})
		router.Path(prefix + route.path).Handler(answering(&answer{
			status: http.StatusMethodNotAllowed, body: "405: Method Not Allowed", allow: strings.Join(route.methods, ", "),
		}))
	}
	return router
}

func answering(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { writeError(w, request, err) })
}

// disabled is the handler of an endpoint that the configuration has turned off.
func disabled(message string) handler {
	err := &answer{status: http.StatusMethodNotAllowed, body: message, plain: true}
	return func(*Server, http.ResponseWriter, *http.Request) error { return err }
}

// trimmed is request as the second router sees it: without slashes at the end of its path.
func trimmed(request *http.Request) *http.Request {
	if !strings.HasSuffix(request.URL.Path, "/") {
		return request
	}
	url, copied := *request.URL, *request
	url.Path, url.RawPath = "/"+strings.Trim(request.URL.Path, "/"), ""
	copied.URL = &url
	return &copied
}

// accepts is the second router's reading of the first Accept header: a list whose members are compared to the letter
// with what is produced (empty: nothing is said), but for */*. (go-restful, Route.matchesAccept)
func accepts(request *http.Request, produces string) bool {
	accept := request.Header.Get("Accept")
	if accept == "" {
		return true
	}
	for kind := range strings.SplitSeq(accept, ",") {
		kind, _, _ = strings.Cut(kind, ";")
		if kind = strings.Trim(kind, " "); kind == "*/*" || kind == produces && produces != "" {
			return true
		}
	}
	return false
}
