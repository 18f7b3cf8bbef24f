package server

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/mux"
	"k8s.io/component-base/metrics/prometheus/slis"

	"fauxlet/config"
)

// router is the first router of a port, with all handlers that are installed in it. Servers that share configuration
// through [Options.Like] share their routers; the context of a request contains the Server of the request.
type router struct {
	mux *http.ServeMux
	// readOnly is true if requests are neither authenticated nor authorized.
	readOnly bool
	// handled lists the paths that have no second router, in the order in which a kubelet installs them. /statusz shows
	// this list.
	handled []string
	version config.Version
	// buckets maps each value of the `path` label of the metrics to the value of the `long_running` label.
	buckets map[string]bool
}

// port is the HTTP handler of the secure or the read-only port of a Server.
type port struct {
	server *Server
	routes *router
	// series has the metrics of each method and path, indexed by seriesKey.
	series sync.Map
}

type portKey struct{}

// withPort returns a context that contains the port, so that handlers find their Server. [port.ServeHTTP] makes sure
// that the context of each request contains a port.
func withPort(ctx context.Context, p *port) context.Context {
	return context.WithValue(ctx, portKey{}, p)
}

func serverOf(r *http.Request) *Server { return r.Context().Value(portKey{}).(*port).server }

func newRouter(c *config.Config, readOnly bool) *router {
	r := &router{mux: http.NewServeMux(), readOnly: readOnly, buckets: map[string]bool{}, version: c.Version}
	installHealthz(r, c.Version)
	slis.SLIMetricsWithReset{}.Install(r)

	debug := !readOnly && debugging(c)
	for i := range services {
		s := &services[i]
		protected := s.debug && (s.secureSince == 0 || c.Version.Has(s.secureSince))
		switch {
		case protected && !debug:
			if s.refused {
				// If debugging is off, a kubelet counts requests for /debug/pprof/ with the `path` label "pprof", and
				// not as long-running requests.
				bucket := path.Base(s.prefix)
				longRunning := s.longRunning && bucket == s.label()
				r.install(off(strings.TrimSuffix(s.prefix, "/")+"/", bucket, "Debug endpoints are disabled.",
					longRunning))
			}
		case s.when == nil || s.when(c):
			r.install(s)
		case s.off != "":
			r.install(off(s.prefix, s.bucket, s.off, s.longRunning))
		}
	}
	r.installZPages(c, debug)
	return r
}

// The function "off" returns a service that replaces a service which the configuration has turned off. It answers 405
// with a message.
func off(prefix, bucket, message string, longRunning bool) *service {
	err := &statusError{status: http.StatusMethodNotAllowed, body: message, plain: true}
	refuse := func(*handlers, http.ResponseWriter, *http.Request) error { return err }
	return &service{prefix: prefix, exact: true, bucket: bucket, longRunning: longRunning,
		routes: []route{{serve: refuse}}}
}

func (r *router) ServeHTTP(w http.ResponseWriter, request *http.Request) { r.mux.ServeHTTP(w, request) }

// Handle installs a handler of a k8s.io library. Its requests are authenticated and authorized like all others.
func (r *router) Handle(path string, handler http.Handler) {
	r.handled = append(r.handled, path)
	r.mux.Handle(path, r.authorized(handler))
}

func (r *router) install(service *service) {
	r.buckets[service.label()] = service.longRunning
	if service.exact {
		r.handled = append(r.handled, service.prefix)
		r.mux.Handle(service.prefix, r.authorized(service.routes[0].serve))
		return
	}
	authorized := r.authorized(newSecondRouter(service, r.version))
	r.mux.Handle(service.prefix, authorized)
	if !strings.HasSuffix(service.prefix, "/") {
		r.mux.Handle(service.prefix+"/", authorized)
	}
}

// authorized returns a handler that calls "next" for each request that the chain has authenticated and authorized. On
// the read-only port, the handler calls "next" for every request.
func (r *router) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		s := serverOf(request)
		if !r.readOnly {
			if _, err := s.chain.Load().Decide(request); err != nil {
				writeError(w, request, err)
				return
			}
		}
		handler := next
		if s.options.WrapHandler != nil {
			handler = s.options.WrapHandler(next)
		}
		handler.ServeHTTP(w, request)
	})
}

// newSecondRouter returns the router of a service, which chooses a handler by the path and the method.
func newSecondRouter(service *service, version config.Version) http.Handler {
	router := mux.NewRouter().SkipClean(true)
	router.NotFoundHandler = errorHandler{errPageNotFound}
	prefix := strings.TrimSuffix(service.prefix, "/")
	produces := ""
	if service.json {
		produces = "application/json"
	}
	for _, route := range service.routes {
		methods := slices.Clone(route.methods) // gorilla/mux changes its slice, and all Servers share the table
		router.Path(prefix + route.path).Methods(methods...).Handler(accepting(produces, version, route.serve))
		router.Path(prefix + route.path).Handler(errorHandler{&statusError{status: http.StatusMethodNotAllowed,
			body: "405: Method Not Allowed", allow: strings.Join(route.methods, ", ")}})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var match mux.RouteMatch
		router.Match(withoutTrailingSlash(r), &match) // always finds a handler: the router has a NotFoundHandler
		match.Handler.ServeHTTP(w, mux.SetURLVars(r, match.Vars))
	})
}

// withoutTrailingSlash removes slashes at the end of the path, because the kubelet's second router (go-restful) ignores
// them.
func withoutTrailingSlash(r *http.Request) *http.Request {
	if !strings.HasSuffix(r.URL.Path, "/") {
		return r
	}
	url, copied := *r.URL, *r
	url.Path, url.RawPath = "/"+strings.Trim(r.URL.Path, "/"), ""
	copied.URL = &url
	return &copied
}

// accepting returns a handler that answers 406 if the client does not accept the content type in "produces". Otherwise
// the handler calls "next", whose responses have that content type. Older versions answer 415 to requests such as a
// POST without a body.
func accepting(produces string, version config.Version, next http.Handler) http.Handler {
	const available = "\n\nAvailable representations: %s"
	notAcceptable := statusErrorf(http.StatusNotAcceptable, "406: Not Acceptable"+available, produces)
	unsupported := statusErrorf(http.StatusUnsupportedMediaType, "415: Unsupported Media Type"+available, produces)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case accepts(r.Header.Get("Accept"), produces):
			next.ServeHTTP(w, r)
		case !version.Has(config.AlwaysNotAcceptable) && r.Header.Get("Content-Length") == "" &&
			slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method):
			writeError(w, r, unsupported)
		default:
			writeError(w, r, notAcceptable)
		}
	})
}

// The function "accepts" returns whether an Accept header accepts the content type in "produces". It ignores parameters
// in the header. An empty header and */* accept every response; if "produces" is empty, no other header accepts it.
// (go-restful, Route.matchesAccept)
func accepts(accept, produces string) bool {
	for kind := range strings.SplitSeq(accept, ",") {
		kind, _, _ = strings.Cut(kind, ";")
		if kind = strings.Trim(kind, " "); kind == "*/*" || kind == produces && produces != "" {
			return true
		}
	}
	return accept == ""
}
