package server

import (
	"net/http"
	"strings"

	"fauxlet/config"
)

// service is a part of the kubelet's API: a path prefix, such as /exec, with the paths below it. The table named
// services lists all of them. The permissions that a client needs for a path are not in this table; see
// [fauxlet/authchain.Subresources].
//
// A kubelet routes a request twice. The first router runs before authentication and examines only the prefix. It
// redirects a path such as /a//b to the clean path, and answers `404 page not found` if no service has the prefix. The
// second router runs after authorization and examines the rest of the path and the method of the request. It answers
// `404: Page Not Found` or `405: Method Not Allowed` if no route matches.
type service struct {
	prefix string
	// exact is true if the service is only one path, with any method. Its requests do not pass through a second router.
	exact bool
	// bucket is the `path` label of the metrics. If bucket is empty, the label is the prefix.
	bucket string
	// longRunning is the `long_running` label of the metrics. The kubelet's list of long-running paths has
	// "portforward" although the path is "portForward", so a port-forward does not count as long-running.
	longRunning bool
	// json is true if the service declares that it produces application/json. It then answers 406 to a client that does
	// not accept JSON. Other services declare no content type, and answer 406 to a client that does not accept */*.
	json   bool
	routes []route
	// The function "when" returns whether the configuration turns the service on. If the function is nil, every
	// configuration turns the service on. If the service is turned off, requests with its prefix are answered with 405
	// and the text in the field "off". If this text is empty, they are answered with 404.
	when func(*config.Config) bool
	off  string
	// If the field "debug" is true, the service is served only on the secure port, and only if enableDebuggingHandlers
	// is true. All other services are served on both ports. Where a service with "debug" is not served, requests with
	// its prefix are answered with 405 if the field "refused" is true, otherwise with 404.
	debug, refused bool
	// If the configuration's version does not have the behavior "secureSince", the service is served on the read-only
	// port, too, although the field "debug" is true. If the field is zero, every version has the behavior.
	secureSince config.Behavior
}

func (s *service) label() string {
	if s.bucket != "" {
		return s.bucket
	}
	return strings.Trim(s.prefix, "/")
}

// route is one path of a [service]: the HTTP methods, the path below the service's prefix in the syntax of gorilla/mux,
// and the handler. If the field "exact" of the service is true, the service has one route, in which only the handler is
// set.
type route struct {
	methods []string
	path    string
	serve   handler
}

// These are the paths of pods and containers. Their variables name the pod and the container of a request; see
// [PathTarget].
const (
	container    = "/{namespace:[^/]*}/{pod:[^/]*}/{container:[^/]*}"
	containerUID = "/{namespace:[^/]*}/{pod:[^/]*}/{uid:[^/]*}/{container:[^/]*}"
	pod          = "/{namespace:[^/]*}/{pod:[^/]*}"
	podUID       = "/{namespace:[^/]*}/{pod:[^/]*}/{uid:[^/]*}"
)

// These are wildcards for the rest of a path. As in the kubelet's router, they match every character, including a line
// feed.
const (
	anything  = "(?s:.*)"
	something = "(?s:.+)"
)

var (
	get     = []string{http.MethodGet}
	post    = []string{http.MethodPost}
	getPost = []string{http.MethodGet, http.MethodPost}
)

// services is the table of all paths of a kubelet, except /healthz, /metrics/slis, /flagz and /statusz, which are
// installed by libraries of k8s.io. (kubelet: pkg/kubelet/server/server.go, InstallAuthNotRequiredHandlers,
// InstallAuthRequiredHandlers, InstallDebuggingDisabledHandlers, InstallSystemLogHandler, InstallProfilingHandler,
// InstallDebugFlagsHandler)
var services = []service{
	{prefix: "/pods", json: true, routes: []route{{get, "", (*handlers).getPods}}},
	{prefix: "/stats/", json: true, routes: []route{{getPost, "/summary", (*handlers).getStatsSummary}}},
	{prefix: "/metrics", exact: true, routes: []route{{serve: (*handlers).getMetrics}}},
	{prefix: "/metrics/cadvisor", exact: true, routes: []route{{serve: (*handlers).getCadvisorMetrics}}},
	{prefix: "/metrics/resource", exact: true, routes: []route{{serve: (*handlers).getResourceMetrics}}},
	{prefix: "/metrics/probes", exact: true, routes: []route{{serve: (*handlers).getProbeMetrics}}},

	{prefix: "/containerLogs", debug: true, refused: true, routes: []route{
		{get, container, (*handlers).getContainerLogs}}},
	{prefix: "/run", debug: true, refused: true, routes: []route{
		{post, container, (*handlers).postRun}, {post, containerUID, (*handlers).postRun}}},
	{prefix: "/exec", debug: true, refused: true, longRunning: true, routes: []route{
		{getPost, container, (*handlers).getExec}, {getPost, containerUID, (*handlers).getExec}}},
	{prefix: "/attach", debug: true, refused: true, longRunning: true, routes: []route{
		{getPost, container, (*handlers).getAttach}, {getPost, containerUID, (*handlers).getAttach}}},
	{prefix: "/portForward", debug: true, refused: true, routes: []route{
		{getPost, pod, (*handlers).getPortForward}, {getPost, podUID, (*handlers).getPortForward}}},
	{prefix: "/runningpods/", debug: true, refused: true, json: true, routes: []route{
		{get, "", (*handlers).getRunningPods}}},
	{prefix: "/checkpoint/", debug: true, secureSince: config.ProtectedCheckpoint, json: true,
		when: gate("ContainerCheckpoint"), routes: []route{{post, container, (*handlers).postCheckpoint}}},
	{prefix: "/configz", exact: true, debug: true, routes: []route{{serve: (*handlers).getConfigz}}},
	{prefix: "/allocatedPods", debug: true, json: true, when: gate("KubeletAllocatedPodsEndpoint"), routes: []route{
		{get, "", (*handlers).getAllocatedPods},
		{get, pod, (*handlers).getAllocatedPod}, {get, podUID, (*handlers).getAllocatedPod}}},

	{prefix: "/logs/", debug: true, refused: true, when: systemLogs, off: "logs endpoint is disabled.", routes: []route{
		{get, "", (*handlers).getNodeLogs}, {get, "/{path:" + anything + "}", (*handlers).getNodeLogs}}},
	{prefix: "/debug/pprof/", bucket: "debug", debug: true, refused: true, longRunning: true,
		when: profiling, off: "profiling endpoint is disabled.", routes: []route{
			{get, "/{path:" + something + "}", (*handlers).getProfile}}},
	{prefix: "/debug/flags/v", exact: true, bucket: "debug", debug: true, longRunning: true,
		when: debugFlags, off: "flags endpoint is disabled.", routes: []route{{serve: (*handlers).putVerbosity}}},
}

func gate(name string) func(*config.Config) bool {
	return func(c *config.Config) bool { return c.Enabled(name) }
}

func systemLogs(c *config.Config) bool { return isTrue(c.Kubelet.EnableSystemLogHandler) }
func profiling(c *config.Config) bool  { return isTrue(c.Kubelet.EnableProfilingHandler) }
func debugFlags(c *config.Config) bool { return isTrue(c.Kubelet.EnableDebugFlagsHandler) }
func debugging(c *config.Config) bool  { return isTrue(c.Kubelet.EnableDebuggingHandlers) }
