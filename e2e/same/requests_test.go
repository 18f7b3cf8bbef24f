package same

import (
	"strconv"
	"strings"
	"testing"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/recordings"
	"fauxlet/internal/vectors"
)

// newClients returns the clients that send the requests.
func newClients(t *testing.T, corpus *vectors.Corpus) map[string]client {
	t.Helper()
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	all, err := recordings.NewClients(corpus, p.CA, p.UnknownCA)
	expect.NoError(t, err)
	return all
}

// The function "written" returns the requests that the lists in this file contain for the given configuration, each as
// a conversation. These requests are written by hand, in contrast to the generated ones.
func written(configuration string, corpus *vectors.Corpus) []conversation {
	var all []conversation
	add := func(readOnly bool, as string, r request) {
		r.Header = hangUp + r.Header
		all = append(all, conversation{From: "requests_test.go", ReadOnly: readOnly, As: as, Requests: []request{r}})
	}
	const admin = "kubelet-client"
	switch configuration {
	case "defaults", "anonymous":
		for _, as := range sortedKeys(corpus.Clients) {
			for _, path := range askedByAll {
				add(false, as, request{Method: "GET", Path: path})
			}
			for _, method := range []string{"HEAD", "POST", "BREW"} {
				add(false, as, request{Method: method, Path: logsPath})
			}
		}
	}
	if configuration == "log-query" {
		for _, query := range logQueries {
			add(false, admin, request{Method: "GET", Path: "/logs/?" + query})
			add(false, admin, request{Method: "GET", Path: "/logs/?" + query, Header: "Accept-Encoding: gzip\r\n"})
			add(false, admin, request{Method: "GET", Path: "/logs/kubelet.log?" + query})
		}
	}
	switch configuration {
	case "defaults", "no-debugging", "handlers-off":
	default:
		return all
	}
	for _, readOnly := range []bool{false, true} {
		for _, path := range paths {
			add(readOnly, admin, request{Method: "GET", Path: path})
		}
		for _, method := range methods {
			for _, path := range methodPaths {
				add(readOnly, admin, request{Method: method, Path: path})
			}
		}
		for _, r := range headed {
			add(readOnly, admin, r)
		}
	}
	if configuration == "defaults" {
		for _, query := range queries {
			add(false, admin, request{Method: "GET", Path: logsPath + "?" + query})
			add(false, admin, request{Method: "GET", Path: "/containerLogs/default/nginx/odd?" + query})
		}
	}
	return all
}

// ofVectors converts the cases of internal/vectors for the given configuration to conversations of one request each.
func ofVectors(t *testing.T, configuration string, corpus *vectors.Corpus) []conversation {
	t.Helper()
	var all []conversation
	for i := range corpus.Cases {
		c := &corpus.Cases[i]
		if c.Configuration != configuration {
			continue
		}
		header := hangUp
		for _, line := range c.Headers {
			if strings.HasPrefix(line, "Connection:") {
				header = strings.TrimPrefix(header, hangUp)
			}
			header += line + "\r\n"
		}
		if c.Body != "" {
			header += "Content-Length: " + strconv.Itoa(len(c.Body)) + "\r\n"
		}
		all = append(all, conversation{
			From: c.Where, ReadOnly: c.ReadOnly, As: c.Client, Faults: c.Faults, Vector: c,
			Requests: []request{{Method: c.Method, Path: c.Path, Protocol: c.Protocol, Header: header, Body: c.Body}},
		})
	}
	return all
}

const logsPath = "/containerLogs/default/nginx/nginx"

// paths lists paths that kubelet-client requests with GET, on the secure and on the read-only port.
var paths = []string{
	"/", "//", "/nope", "/nope/", "/spec", "/spec/",
	"/pods", "/pods/", "/pods?x=y", "/pods/x", "//pods", "/pods//", "/./pods", "/../pods", "/x/../pods", "/pods/..",
	"/Pods", "/%70ods", "/pods%2F", "/pods%00", "/pods%zz", "/pods#x",
	"/runningpods", "/runningpods/", "/runningpods//", "/runningpods/x", "/runningPods", "/runningPods/",
	"/healthz", "/healthz/", "/healthz/ping", "/healthz/ping/", "/healthz/log", "/healthz/syncloop",
	"/healthz/device-plugin", "/healthz/nope", "/healthz?verbose", "/healthz?exclude=ping&verbose",
	"/configz", "/configz/", "/configz?x=y",
	"/metrics", "/metrics/", "/metrics/nope", "/metrics/probes", "/metrics/slis", "/metrics/cadvisor",
	"/metrics/resource", "/metrics/probes/", "/metrics/slis/",
	"/stats", "/stats/", "/stats/summary", "/stats/summary/", "/stats/nope", "/stats/default/nginx/1/nginx",
	"/logs", "/logs/", "/logs/nope", "/debug", "/debug/pprof", "/debug/pprof/nope", "/debug/flags/v", "/debug/flags/x",
	"/flagz", "/statusz", "/allocatedPods", "/allocatedPods/", "/allocatedPods/default/nginx",
	"/allocatedPods/default/nope", "/allocatedPods/default", "/checkpoint/default/nginx/nginx",
	"/exec", "/exec/", "/exec/default/nginx", "/exec/default/nginx/nginx",
	"/exec/default/nope/nginx?command=ls&output=1", "/exec/default/nope/nginx?tty=1&error=1",
	"/attach/default/nope/nginx", "/exec/default/nginx/1/nginx",
	"/attach/default/nginx/nginx", "/attach/default/nope/nginx?output=1", "/portForward/default/nginx",
	"/portForward/default/nope", "/portForward/default", "/run/default/nginx/nginx",
	"/cri/exec/x", "/containerLogs", "/containerLogs/", "/containerLogs/default", "/containerLogs/default/nginx",
	logsPath, logsPath + "/", logsPath + "//", logsPath + "/x", "/containerLogs//nginx/nginx",
	"/containerLogs/default//nginx", "/containerLogs/default/nginx//", "//containerLogs/default/nginx/nginx",
	"/containerLogs/default/../default/nginx/nginx", "/containerLogs/default/%2e%2e/default/nginx/nginx",
	"/containerLogs/default%2Fnginx/nginx", "/containerLogs/default/nginx/nginx%2F",
	"/containerLogs/default/nginx%2Fx/nginx",
	"/containerLogs/default/ng%69nx/nginx", "/containerLogs/default/nginx/%20nginx",
	"/containerLogs/default/nginx/sidecar", "/containerLogs/nope/nginx/nginx", "/containerLogs/default/nope/nginx",
	"/containerLogs/default/nginx/nope",
	"/containerLogs/default/ng%22inx/nginx", "/containerLogs/default/nginx/%E4%B8%AD",
}

// queries lists queries for /containerLogs.
var queries = []string{
	"tailLines=1", "tailLines=0", "tailLines=99", "tailLines=-1", "tailLines=x", "tailLines=",
	"tailLines=1&tailLines=2",
	"tailLines=9223372036854775808",
	"tail=1", "tail=all", "tail=x", "tail=-1", "tail=1&tailLines=2", "tail=all&tailLines=1",
	"limitBytes=5", "limitBytes=0", "limitBytes=-1", "limitBytes=x", "limitBytes=1&tailLines=1",
	"timestamps=true", "timestamps=1", "timestamps=x", "timestamps", "follow=0", "follow=false", "previous=true",
	"previous=x", "previous=true&tailLines=0",
	"sinceSeconds=60", "sinceSeconds=0", "sinceSeconds=-1", "sinceSeconds=x", "sinceSeconds=999999999",
	"sinceSeconds=9223372036", "sinceSeconds=9223372037", "sinceSeconds=9223372036854775807", "tailLines=2",
	"tailLines=4", "timestamps=true&tailLines=3", "timestamps=true&limitBytes=40",
	"sinceTime=2026-01-02T03:05:05Z", "sinceTime=2026-01-02T03:05:05.5Z", "sinceTime=x", "sinceTime=",
	"sinceTime=2026-01-02T03:05:05Z&sinceSeconds=60", "sinceTime=2126-01-02T03:05:05Z",
	"stream=All", "stream=Stdout", "stream=Stderr", "stream=stdout", "stream=", "stream=Stdout&tailLines=1",
	"stream=All&tailLines=1",
	"nope=1", "%zz", ";", "a;b", "insecureSkipTLSVerifyBackend=true", "container=x",
}

// logQueries lists queries for the node's logs.
var logQueries = []string{
	"query=./kubelet.log", "query=./noext", "query=containers/", "query=./containers",
	"query=containers//deep/er/c.log",
	"query=containers/../kubelet.log", "query=containers/deep/../../noext", "query=containers/..", "query=../noext",
	"query=containers/../..", "query=/kubelet.log", "query=kubelet.log/", "query=kubelet.log/.", "query=kubelet.log/x",
	"query=nope/", "query=nope/../noext", "query=containers/nope", "query=./", "query=/", "query=containers/a%26b.log",
	`query=containers\deep\er\c.log`, `query=\`, "query=containers/%00", "query=kubelet.log%00/", "query=nope/a%00",
	"query=./%0A", "query=./%FF", "query=nope/" + strings.Repeat("n", 256), "query=./" + strings.Repeat("n", 256),
	"query=./" + strings.Repeat("n", 255), "query=kubelet.log/" + strings.Repeat("n", 256),
	"query=kubelet", "query=containerd", "query=let", "query=kubelet.service", "query=kubelet&query=noext",
	"query=noext&query=nope&query=empty.log", "query=noext", "query=empty", "query=containers", "query=nope",
	"query=.", "query=..", "query=...", "query=-", "query=@", "query=kubelet.log", "query=%20", "query=", "query",
	"query=" + strings.Repeat("n", 251), "query=" + strings.Repeat("n", 252), "query=" + strings.Repeat("n", 255),
	"query=" + strings.Repeat("n", 256), "query=" + strings.Repeat("n", 257), "query=a%3Bb", "query=a+b", "query=%00",
	"query=a&query=b&query=c&query=d&query=e", "query=a/b&query=c", "query=a/b&query=c/d", "query=./noext&tailLines=1",
	"query=noext&tailLines=1", "query=kubelet&tailLines=1", "query=kubelet&tailLines=0", "query=kubelet&tailLines=-1",
	"query=kubelet&tailLines=100001", "query=kubelet&tailLines=x", "tailLines=1", "pattern=x", "boot=0", "boot=x",
	"query=kubelet&boot=0", "query=kubelet&boot=1", "query=kubelet&boot=-1", "query=noext&boot=0",
	"query=kubelet&pattern=(", "query=kubelet&pattern=[", "query=kubelet&pattern=lease", "query=kubelet&pattern=(%3F<x",
	"query=kubelet&pattern=a{1001}", "query=kubelet&pattern=%FF", "query=kubelet&sinceTime=2026-01-02T03:05:05Z",
	"query=kubelet&untilTime=2026-01-02T03:05:05Z", "query=kubelet&sinceTime=x", "query=kubelet&untilTime=x",
	"query=kubelet&sinceTime=2026-01-02T03:05:05Z&untilTime=2025-01-02T03:05:05Z",
	"query=noext&sinceTime=2026-01-02T03:05:05Z", "query=kubelet&sinceTime=x&boot=x&tailLines=x",
}

// methods lists HTTP methods. The test sends a request with each method to each of methodPaths.
var (
	methods     = []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"}
	methodPaths = []string{
		"/pods", logsPath, "/containerLogs/default/nope/nginx", "/run/default/nope/nginx?cmd=ls",
		"/exec/default/nginx/nginx", "/runningpods/", "/healthz", "/configz", "/metrics/nope", "/stats/nope",
		"/checkpoint/default/nope/nginx", "/logs/", "/debug/pprof/nope", "/debug/flags/v", "/nope",
		"/portForward/default/nope", "/allocatedPods",
	}
)

// askedByAll lists the paths that the test requests as every client.
var askedByAll = []string{
	"/pods", logsPath, "/healthz", "/healthz/ping", "/configz", "/stats/nope", "/metrics/nope", "/nope", "/logs/nope",
	"/debug/pprof/nope", "/flagz", "/statusz", "/checkpoint/default/nope/nginx", "/runningpods/",
	"/exec/default/nope/nginx?output=1", "/allocatedPods", "/pods/", "/healthzx", "/metrics/cadvisorx",
}

// The list "headed" has requests that have special headers or bodies.
var headed = []request{
	{Method: "GET", Path: "/pods", Header: "Accept: text/plain\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: application/json\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: application/json;q=0.5, text/html\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: application/*\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: */*\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: APPLICATION/JSON\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: ,\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept: text/plain\r\nAccept: application/json\r\n"},
	{Method: "GET", Path: "/runningpods/", Header: "Accept: application/yaml\r\n"},
	{Method: "GET", Path: "/allocatedPods", Header: "Accept: text/plain\r\n"},
	{Method: "GET", Path: logsPath, Header: "Accept: application/json\r\n"},
	{Method: "GET", Path: logsPath, Header: "Accept-Encoding: gzip\r\n"},
	{Method: "GET", Path: "/pods", Header: "Accept-Encoding: gzip\r\n"},
	{Method: "GET", Path: "/configz", Header: "Accept: text/html\r\n"},
	{Method: "GET", Path: "/healthz", Header: "Accept: application/json\r\n"},
	{Method: "GET", Path: "/pods", Header: "Content-Type: application/xml\r\n"},
	{Method: "GET", Path: "/pods", Header: "Content-Length: 3\r\n", Body: "abc"},
	{Method: "GET", Path: logsPath, Header: "Content-Length: 12\r\n", Body: "tailLines=1\n"},
	{Method: "GET", Path: logsPath, Header: "Content-Length: 11\r\nContent-Type: application/x-www-form-urlencoded\r\n",
		Body: "tailLines=1"},
	{Method: "GET", Path: logsPath, Header: "Range: bytes=0-2\r\n"},
	{Method: "GET", Path: logsPath, Header: "Origin: https://example.org\r\n"},
	{Method: "GET", Path: "/pods", Header: "If-None-Match: *\r\n"},
	{Method: "POST", Path: "/run/default/nope/nginx", Header: "Content-Length: 3\r\n", Body: "abc"},
	{Method: "POST", Path: "/run/default/nope/nginx", Header: "Content-Length: 3\r\nContent-Type: application/json\r\n",
		Body: "abc"},
	{Method: "POST", Path: "/pods", Header: "Transfer-Encoding: chunked\r\n", Body: "0\r\n\r\n"},
	{Method: "POST", Path: "/exec/default/nope/nginx?output=1", Header: "Content-Length: 0\r\n"},
	{Method: "GET", Path: "/pods", Header: "X-Forwarded-For: 10.0.0.1\r\n"},
	{Method: "GET", Path: "/pods", Header: "Expect: 100-continue\r\n"},
	{Method: "GET", Path: "/pods", Header: "Bad Header: x\r\n"},
	{Method: "GET", Path: "/pods", Header: "X-Long: " + strings.Repeat("x", 100<<10) + "\r\n"},
	{Method: "GET", Path: "http://elsewhere/pods"},
	{Method: "OPTIONS", Path: "*"},
	{Method: "CONNECT", Path: "node-1:10250"},
	{Method: "GET", Path: "pods"},
}
