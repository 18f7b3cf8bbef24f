package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// request is sent byte by byte as it stands, so that no client tidies it up.
type request struct {
	readOnly     bool
	as           string // a client; empty: kubelet-client, who may do everything
	method, path string
	header       string // lines
	body         string
}

func (r request) id() string {
	port := "secure"
	if r.readOnly {
		port = "readOnly"
	}
	id := port + " " + r.as + " " + r.method + " " + r.path
	if r.header != "" {
		header := strings.ReplaceAll(strings.TrimSpace(r.header), "\r\n", ", ")
		id += " " + header[:min(len(header), 80)]
	}
	if r.body != "" {
		id += " with a body"
	}
	return id
}

// client is a certificate, and headers.
type client struct {
	certificate *testcerts.Pair
	header      string
}

func newClients(t *testing.T) map[string]client {
	t.Helper()
	p, err := certificates()
	must(t, err)
	mint := func(ca *testcerts.Authority, name string, groups []string, mutate ...testcerts.Mutate) *testcerts.Pair {
		pair, err := ca.Client(name, groups, mutate...)
		must(t, err)
		return pair
	}
	middle, err := p.ca.Intermediate("middle")
	must(t, err)
	good, stranger := mint(p.ca, "kubelet-client", nil), mint(p.strangerCA, "kubelet-client", nil)
	const goodToken, adminToken, badToken = "Authorization: Bearer good-token\r\n", "Authorization: Bearer admin-token\r\n", "Authorization: Bearer bad\r\n"
	return map[string]client{
		"kubelet-client":               {certificate: good},
		"nobody":                       {},
		"viewer":                       {certificate: mint(p.ca, "viewer", []string{"watchers"})},
		"viewer-of-middle":             {certificate: mint(middle, "viewer", nil)},
		"stranger":                     {certificate: stranger},
		"expired":                      {certificate: mint(p.ca, "kubelet-client", nil, testcerts.Expired)},
		"not-yet":                      {certificate: mint(p.ca, "kubelet-client", nil, testcerts.NotYetValid)},
		"server-only":                  {certificate: mint(p.ca, "kubelet-client", nil, testcerts.ServerAuthOnly)},
		"no-usage":                     {certificate: mint(p.ca, "kubelet-client", nil, testcerts.NoUsage)},
		"no-name":                      {certificate: mint(p.ca, "", []string{"watchers"}, testcerts.EmptyCN)},
		"named-anonymous":              {certificate: mint(p.ca, "system:anonymous", []string{"watchers"})},
		"good-token":                   {header: goodToken},
		"admin-token":                  {header: adminToken},
		"bad-token":                    {header: badToken},
		"basic":                        {header: "Authorization: Basic YWRtaW46YWRtaW4=\r\n"},
		"bare-bearer":                  {header: "Authorization: Bearer\r\n"},
		"two-spaces":                   {header: "Authorization: Bearer  admin-token\r\n"},
		"lower-case":                   {header: "Authorization: bearer admin-token\r\n"},
		"two-headers":                  {header: badToken + adminToken},
		"websocket-token":              {header: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.YWRtaW4tdG9rZW4, v4.channel.k8s.io\r\n"},
		"impersonator":                 {certificate: mint(p.ca, "viewer", nil), header: "Impersonate-User: kubelet-client\r\n"},
		"good-certificate+bad-token":   {certificate: good, header: badToken},
		"good-certificate+admin-token": {certificate: mint(p.ca, "viewer", nil), header: adminToken},
		"stranger+good-token":          {certificate: stranger, header: goodToken},
		"stranger+bad-token":           {certificate: stranger, header: badToken},
		"no-name+admin-token":          {certificate: mint(p.ca, "", nil, testcerts.EmptyCN), header: adminToken},
	}
}

// send sends it on a connection of its own.
func (r request) send(t *testing.T, address string, as client, reviews *reviewer) observation {
	t.Helper()
	reviews.take(t)
	var seen observation
	response, body, err := r.exchange(address, as)
	seen.reviews = reviews.take(t)
	if err != nil {
		seen.failed = err.Error()
		return seen
	}
	seen.status, seen.header, seen.body = response.Proto+" "+response.Status, response.Header, body
	seen.header.Del("Date")
	if seen.header.Get("Process-Start-Time-Unix") != "" { // a time as well
		seen.header.Set("Process-Start-Time-Unix", "set")
	}
	if strings.HasPrefix(r.path, "/metrics") && response.StatusCode == http.StatusOK {
		seen.body = families(body)
		seen.header.Del("Content-Length")
	}
	if len(response.TransferEncoding) > 0 { // net/http takes it out of the header
		seen.header["Transfer-Encoding"] = response.TransferEncoding
	}
	return seen
}

// families are the names and types of the metrics that are about serving: those that a kubelet and its stand-in share.
// What they count is another matter.
func families(body string) string {
	var all []string
	for line := range strings.Lines(body) {
		for _, prefix := range []string{"kubelet_http_", "kubelet_server_", "apiserver_delegated_", "authentication_", "authorization_", "kubernetes_healthcheck", "kubernetes_feature_enabled", "kubernetes_build_info", "prober_", "process_start"} {
			if strings.HasPrefix(line, "# HELP "+prefix) || strings.HasPrefix(line, "# TYPE "+prefix) {
				all = append(all, line)
			}
		}
	}
	return strings.Join(all, "")
}

func (r request) exchange(address string, as client) (*http.Response, string, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	var conn net.Conn
	var err error
	if r.readOnly {
		conn, err = dialer.Dial("tcp", address)
	} else {
		config := &tls.Config{InsecureSkipVerify: true}
		if as.certificate != nil {
			pair := as.certificate.TLS()
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		conn, err = tls.DialWithDialer(dialer, "tcp", address, config)
	}
	if err != nil {
		return nil, "", errors.New("no connection")
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, "", err
	}
	connection := "Connection: close\r\n"
	if strings.Contains(as.header+r.header, "Connection:") {
		connection = ""
	}
	if _, err := io.WriteString(conn, r.method+" "+r.path+" HTTP/1.1\r\nHost: node-1:10250\r\n"+connection+as.header+r.header+"\r\n"+r.body); err != nil {
		return nil, "", errors.New("the request was not taken")
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return nil, "", errors.New("no response")
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response, string(body) + "(broken off)", nil
	}
	return response, string(body), nil
}

const logsPath = "/containerLogs/default/nginx/nginx"

// paths are asked with GET by kubelet-client, on both ports.
var paths = []string{
	"/", "//", "/nope", "/nope/", "/spec", "/spec/",
	"/pods", "/pods/", "/pods?x=y", "/pods/x", "//pods", "/pods//", "/./pods", "/../pods", "/x/../pods", "/pods/..", "/Pods", "/%70ods", "/pods%2F", "/pods%00", "/pods%zz", "/pods#x",
	"/runningpods", "/runningpods/", "/runningpods//", "/runningpods/x", "/runningPods", "/runningPods/",
	"/healthz", "/healthz/", "/healthz/ping", "/healthz/ping/", "/healthz/log", "/healthz/syncloop", "/healthz/device-plugin", "/healthz/nope", "/healthz?verbose", "/healthz?exclude=ping&verbose",
	"/configz", "/configz/", "/configz?x=y",
	"/metrics", "/metrics/", "/metrics/nope", "/metrics/probes", "/metrics/slis", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes/", "/metrics/slis/",
	"/stats", "/stats/", "/stats/summary", "/stats/summary/", "/stats/nope", "/stats/default/nginx/1/nginx",
	"/logs", "/logs/", "/logs/nope", "/debug", "/debug/pprof", "/debug/pprof/nope", "/debug/flags/v", "/debug/flags/x",
	"/flagz", "/statusz", "/allocatedPods", "/allocatedPods/", "/allocatedPods/default/nginx", "/allocatedPods/default/nope", "/allocatedPods/default", "/checkpoint/default/nginx/nginx",
	"/exec", "/exec/", "/exec/default/nginx", "/exec/default/nginx/nginx", "/exec/default/nope/nginx?command=ls&output=1", "/exec/default/nope/nginx?tty=1&error=1", "/attach/default/nope/nginx", "/exec/default/nginx/1/nginx",
	"/attach/default/nginx/nginx", "/attach/default/nope/nginx?output=1", "/portForward/default/nginx", "/portForward/default/nope", "/portForward/default", "/run/default/nginx/nginx",
	"/cri/exec/x", "/containerLogs", "/containerLogs/", "/containerLogs/default", "/containerLogs/default/nginx",
	logsPath, logsPath + "/", logsPath + "//", logsPath + "/x", "/containerLogs//nginx/nginx", "/containerLogs/default//nginx", "/containerLogs/default/nginx//", "//containerLogs/default/nginx/nginx",
	"/containerLogs/default/../default/nginx/nginx", "/containerLogs/default/%2e%2e/default/nginx/nginx", "/containerLogs/default%2Fnginx/nginx", "/containerLogs/default/nginx/nginx%2F", "/containerLogs/default/nginx%2Fx/nginx",
	"/containerLogs/default/ng%69nx/nginx", "/containerLogs/default/nginx/%20nginx", "/containerLogs/default/nginx/sidecar", "/containerLogs/nope/nginx/nginx", "/containerLogs/default/nope/nginx", "/containerLogs/default/nginx/nope",
	"/containerLogs/default/ng%22inx/nginx", "/containerLogs/default/nginx/%E4%B8%AD",
}

// queries are those of a log.
var queries = []string{
	"tailLines=1", "tailLines=0", "tailLines=99", "tailLines=-1", "tailLines=x", "tailLines=", "tailLines=1&tailLines=2", "tailLines=9223372036854775808",
	"tail=1", "tail=all", "tail=x", "tail=-1", "tail=1&tailLines=2", "tail=all&tailLines=1",
	"limitBytes=5", "limitBytes=0", "limitBytes=-1", "limitBytes=x", "limitBytes=1&tailLines=1",
	"timestamps=true", "timestamps=1", "timestamps=x", "timestamps", "follow=0", "follow=false", "previous=true", "previous=x", "previous=true&tailLines=0",
	"sinceSeconds=60", "sinceSeconds=0", "sinceSeconds=-1", "sinceSeconds=x", "sinceSeconds=999999999",
	"sinceTime=2026-01-02T03:05:05Z", "sinceTime=2026-01-02T03:05:05.5Z", "sinceTime=x", "sinceTime=", "sinceTime=2026-01-02T03:05:05Z&sinceSeconds=60", "sinceTime=2126-01-02T03:05:05Z",
	"stream=All", "stream=Stdout", "stream=Stderr", "stream=stdout", "stream=", "stream=Stdout&tailLines=1", "stream=All&tailLines=1",
	"nope=1", "%zz", ";", "a;b", "insecureSkipTLSVerifyBackend=true", "container=x",
}

// methods are tried on each of methodPaths.
var (
	methods     = []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"}
	methodPaths = []string{
		"/pods", logsPath, "/containerLogs/default/nope/nginx", "/run/default/nope/nginx?cmd=ls", "/exec/default/nginx/nginx", "/runningpods/", "/healthz", "/configz", "/metrics/nope", "/stats/nope",
		"/checkpoint/default/nope/nginx", "/logs/", "/debug/pprof/nope", "/debug/flags/v", "/nope", "/portForward/default/nope", "/allocatedPods",
	}
)

// asked are the paths that each client asks.
var asked = []string{
	"/pods", logsPath, "/healthz", "/healthz/ping", "/configz", "/stats/nope", "/metrics/nope", "/nope", "/logs/nope", "/debug/pprof/nope", "/flagz", "/statusz", "/checkpoint/default/nope/nginx", "/runningpods/",
	"/exec/default/nope/nginx?output=1", "/allocatedPods", "/pods/", "/healthzx", "/metrics/cadvisorx",
}

// headed are requests with headers or bodies.
var headed = []request{
	{method: "GET", path: "/pods", header: "Accept: text/plain\r\n"},
	{method: "GET", path: "/pods", header: "Accept: application/json\r\n"},
	{method: "GET", path: "/pods", header: "Accept: application/json;q=0.5, text/html\r\n"},
	{method: "GET", path: "/pods", header: "Accept: application/*\r\n"},
	{method: "GET", path: "/pods", header: "Accept: */*\r\n"},
	{method: "GET", path: "/pods", header: "Accept: APPLICATION/JSON\r\n"},
	{method: "GET", path: "/pods", header: "Accept: ,\r\n"},
	{method: "GET", path: "/pods", header: "Accept: text/plain\r\nAccept: application/json\r\n"},
	{method: "GET", path: "/runningpods/", header: "Accept: application/yaml\r\n"},
	{method: "GET", path: "/allocatedPods", header: "Accept: text/plain\r\n"},
	{method: "GET", path: logsPath, header: "Accept: application/json\r\n"},
	{method: "GET", path: logsPath, header: "Accept-Encoding: gzip\r\n"},
	{method: "GET", path: "/pods", header: "Accept-Encoding: gzip\r\n"},
	{method: "GET", path: "/configz", header: "Accept: text/html\r\n"},
	{method: "GET", path: "/healthz", header: "Accept: application/json\r\n"},
	{method: "GET", path: "/pods", header: "Content-Type: application/xml\r\n"},
	{method: "GET", path: "/pods", header: "Content-Length: 3\r\n", body: "abc"},
	{method: "GET", path: logsPath, header: "Content-Length: 12\r\n", body: "tailLines=1\n"},
	{method: "GET", path: logsPath, header: "Content-Length: 11\r\nContent-Type: application/x-www-form-urlencoded\r\n", body: "tailLines=1"},
	{method: "GET", path: logsPath, header: "Range: bytes=0-2\r\n"},
	{method: "GET", path: logsPath, header: "Origin: https://example.org\r\n"},
	{method: "GET", path: "/pods", header: "If-None-Match: *\r\n"},
	{method: "POST", path: "/run/default/nope/nginx", header: "Content-Length: 3\r\n", body: "abc"},
	{method: "POST", path: "/run/default/nope/nginx", header: "Content-Length: 3\r\nContent-Type: application/json\r\n", body: "abc"},
	{method: "POST", path: "/pods", header: "Transfer-Encoding: chunked\r\n", body: "0\r\n\r\n"},
	{method: "POST", path: "/exec/default/nope/nginx?output=1", header: "Content-Length: 0\r\n"},
	{method: "GET", path: "/pods", header: "X-Forwarded-For: 10.0.0.1\r\n"},
	{method: "GET", path: "/pods", header: "Expect: 100-continue\r\n"},
	{method: "GET", path: "/pods", header: "Bad Header: x\r\n"},
	{method: "GET", path: "/pods", header: "X-Long: " + strings.Repeat("x", 100<<10) + "\r\n"},
	{method: "GET", path: "http://elsewhere/pods"},
	{method: "OPTIONS", path: "*"},
	{method: "CONNECT", path: "node-1:10250"},
	{method: "GET", path: "pods"},
}

// requestsFor are the requests of a configuration: the credentials in all, the rest where it makes a difference.
func requestsFor(configuration string, clients map[string]client) []request {
	var all []request
	const admin = "kubelet-client"
	for _, as := range sortedKeys(clients) {
		for _, path := range asked {
			all = append(all, request{as: as, method: "GET", path: path})
		}
		for _, method := range []string{"HEAD", "POST", "BREW", "OPTIONS", "PUT"} {
			all = append(all, request{as: as, method: method, path: logsPath}, request{as: as, method: method, path: "/pods"})
		}
	}
	switch configuration {
	case "defaults", "no-debugging", "handlers-off":
	default:
		return all
	}
	for _, readOnly := range []bool{false, true} {
		for _, path := range paths {
			all = append(all, request{readOnly: readOnly, as: admin, method: "GET", path: path})
		}
		for _, method := range methods {
			for _, path := range methodPaths {
				all = append(all, request{readOnly: readOnly, as: admin, method: method, path: path})
			}
		}
		for _, r := range headed {
			r.readOnly, r.as = readOnly, admin
			all = append(all, r)
		}
	}
	if configuration == "defaults" {
		for _, query := range queries {
			all = append(all, request{as: admin, method: "GET", path: logsPath + "?" + query})
		}
	}
	return all
}
