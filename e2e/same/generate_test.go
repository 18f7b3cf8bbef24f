package same

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// generate returns conversations that have at least the given number of requests in total. The same arguments give the
// same conversations. Long conversations have up to 60 requests and fewer of their requests close the connection, so
// that the servers spend less time on handshakes.
func generate(configuration string, seed uint64, requests int, clients map[string]client,
	http2, long bool) []conversation {
	hash := fnv.New64a()
	hash.Write([]byte(configuration))
	g := &generator{Rand: rand.New(rand.NewPCG(seed, hash.Sum64())), clients: sortedKeys(clients),
		targets: targets, http2: http2, long: long}
	if configuration == "log-query" {
		for range len(targets) / 2 {
			g.targets = append(g.targets[:len(g.targets):len(g.targets)], target{path: "/logs/", query: logQueries})
		}
	}
	g.next = g.IntN(len(clients))
	var all []conversation
	for made := 0; made < requests; {
		talk := g.conversation()
		talk.From = fmt.Sprintf("seed %d, conversation %d", seed, len(all))
		made += len(talk.Requests)
		all = append(all, talk)
	}
	return all
}

type generator struct {
	*rand.Rand
	clients []string
	targets []target
	next    int  // index of the client for the next conversation; the clients take turns
	http2   bool // the server offers HTTP/2
	long    bool // the conversations are long
}

func (g *generator) one(in float64) bool { return g.Float64() < in }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) conversation() conversation {
	talk := conversation{As: "kubelet-client"}
	switch n := g.Float64(); {
	case n < 0.15:
		talk.As = pick(g, []string{"viewer", "admin-token", "outsider", "no-credential"})
	case n < 0.55:
		talk.As = g.clients[g.next%len(g.clients)]
		g.next++
	}
	talk.ReadOnly = g.one(0.12)
	talk.HTTP2 = g.http2 && !talk.ReadOnly && g.one(0.3)
	n := 1
	switch {
	case g.one(0.2):
		n = 2 + g.IntN(3)
		talk.Pipelined = !talk.HTTP2 && g.one(0.3)
	case g.long:
		n = 1 + g.IntN(60)
		talk.Quick = true
	}
	for range n {
		talk.Requests = append(talk.Requests, g.request(&talk))
	}
	return talk
}

func (g *generator) request(talk *conversation) request {
	if !talk.HTTP2 && g.one(0.06) {
		return g.stream()
	}
	if !talk.HTTP2 && g.one(0.005) {
		return g.form()
	}
	for {
		r := request{Method: "GET"}
		if g.one(0.35) {
			r.Method = pick(g, someMethods)
		}
		t := pick(g, g.targets)
		if g.long && slow.MatchString(t.path) && g.one(0.7) {
			continue
		}
		r.Path = t.path
		if t.methods != "" && g.one(0.7) {
			r.Method = t.methods
		}
		for g.one(0.3) {
			r.Path = pick(g, mutations)(g, r.Path)
		}
		if query := g.query(t); query != "" {
			r.Path += "?" + query
		}
		if talk.HTTP2 {
			// Skip requests that HTTP/2 forbids. The HTTP/2 client of the test refuses to send them.
			if parsed, err := url.ParseRequestURI(r.Path); err != nil || strings.ContainsAny(parsed.Path, "\x00\n") {
				continue
			}
			for g.one(0.2) {
				r.Header += pick(g, someHeaders) + "\r\n"
			}
			if strings.Contains(r.Header, "Upgrade") || strings.Contains(r.Header, "Host:") ||
				strings.Contains(r.Header, "Length") || !printable.MatchString(r.Header) {
				r.Header = ""
			}
		} else {
			g.dress(talk, &r)
		}
		if !slices.ContainsFunc(notAsked, func(n exemption) bool { return n.matches(r) }) {
			return r
		}
	}
}

// The pattern "slow" matches paths whose answers take the servers much time. Long conversations have fewer of them.
var slow = regexp.MustCompile(`^/(metrics|stats/summary|debug/pprof/(heap|profile|trace))`)

var (
	streams   = regexp.MustCompile(`^/(exec|attach|portForward)`)
	printable = regexp.MustCompile(`^[ -~\r\n]*$`)
)

// exemption is a kind of request that the generator never produces, and the reason for that.
type exemption struct {
	What, Reason string
	path, query  *regexp.Regexp
}

// endsAtOnce matches queries for a profile whose duration has no valid value as a time.Duration: it is not a number,
// or its number of seconds is too large. Such a profile ends at once.
var endsAtOnce = regexp.MustCompile(`^seconds=(NaN|9223372037)$`)

func (n *exemption) matches(r request) bool {
	path, query, _ := strings.Cut(r.Path, "?")
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	if unescaped, err := url.QueryUnescape(query); err == nil {
		query = unescaped
	}
	return n.path.MatchString(path) && n.query.MatchString(query) && !endsAtOnce.MatchString(query)
}

var notAsked = []exemption{
	{"/debug/pprof/profile and trace", "they take as long as the request says",
		regexp.MustCompile(`(?i)pprof.*(profile|trace)`), regexp.MustCompile(``)},
	{"other profiles of so many seconds", "they take as long as the request says", regexp.MustCompile(`(?i)pprof`),
		regexp.MustCompile(`seconds`)},
}

// dress adds random headers, a random body and a random protocol version to a request.
func (g *generator) dress(talk *conversation, r *request) {
	switch n := g.Float64(); {
	case n < 0.06:
		r.Protocol = "HTTP/1.0"
	case n < 0.07:
		r.Protocol = pick(g, []string{"HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.01", "HTTP/3",
			"HTTX/1.1"})
	}
	if closes := 0.25; g.one(map[bool]float64{false: closes, true: closes / 5}[g.long]) {
		r.Header = pick(g, []string{hangUp, hangUp, "Connection: keep-alive\r\n", "Connection: Close\r\n",
			"Connection: close, keep-alive\r\n", "Connection: x\r\n"})
	}
	for g.one(0.25) {
		r.Header += pick(g, someHeaders) + "\r\n"
	}
	if g.one(0.02) {
		framed := pick(g, framings)
		r.Header, r.Body = r.Header+framed.header, framed.body
		return
	}
	if g.one(0.12) || streams.MatchString(r.Path) && g.one(0.6) {
		r.Header += g.upgrade()
	}
	if g.one(0.1) || r.Method == "PUT" && g.one(0.5) || strings.HasPrefix(r.Path, "/run/") && g.one(0.3) {
		r.Body = pick(g, []string{"abc", "{}", "2", "-1", "0", "tailLines=1", "cmd=echo+body", "\x00", "x=y&z",
			strings.Repeat("b", 1500)}) // a longer body may stay unread, and then the answer may get lost
		if g.one(0.7) {
			r.Header += fmt.Sprintf("Content-Length: %d\r\n", len(r.Body))
		} else {
			r.Header += "Transfer-Encoding: chunked\r\n"
			r.Body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(r.Body), r.Body)
		}
		if strings.HasPrefix(r.Path, "/run/") && g.one(0.5) {
			r.Header += "Content-Type: application/x-www-form-urlencoded\r\n"
		} else if g.one(0.4) {
			r.Header += pick(g, []string{"Content-Type: application/json",
				"Content-Type: application/x-www-form-urlencoded",
				"Content-Type: ;;", "Expect: 100-continue", "Expect: something"}) + "\r\n"
		}
	}
}

// form returns a request that runs a command, and has another command in its body. A kubelet reads the query only.
func (g *generator) form() request {
	r := request{Method: "POST", Path: "/run/default/nginx/nginx?" +
		pick(g, []string{"cmd=echo+query", "cmd=", "x=y&cmd=echo+query"}), Body: "cmd=echo+body"}
	r.Header = fmt.Sprintf("Content-Type: application/x-www-form-urlencoded%s\r\nContent-Length: %d\r\n",
		pick(g, []string{"", "; charset=utf-8"}), len(r.Body))
	return r
}

// framings are the headers and bodies of requests whose length is given in an unusual or a wrong way.
var framings = []struct{ header, body string }{
	{"Content-Length: -1\r\n", ""}, {"Content-Length: +1\r\n", "a"}, {"Content-Length: 0x1\r\n", "a"},
	{"Content-Length: 1, 1\r\n", "a"}, {"Content-Length: \r\n", ""}, {"Content-Length: 1 \r\n", "a"},
	{"Content-Length: 1\r\nContent-Length: 1\r\n", "a"}, {"Content-Length: 1\r\nContent-Length: 2\r\n", "ab"},
	{"Content-Length: 99999999999999999999\r\n", ""},
	{"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
	{"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"}, {"Content-Length : 0\r\n", ""},
	{"Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"}, {"Transfer-Encoding: identity\r\n", ""},
	{"Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"}, {"Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"},
	{"Transfer-Encoding : chunked\r\n", "0\r\n\r\n"}, {"Transfer-Encoding: \r\n", ""},
	{"Transfer-Encoding: chunked\r\n", "zz\r\n\r\n"}, {"Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\n", "1;x=y\r\na\r\n0\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\n", "01\r\na\r\n00\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\n", "1\na\n0\n\n"}, {"Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\nTrailer: X\r\n", "1\r\na\r\n0\r\nX: y\r\n\r\n"},
	{"Transfer-Encoding: chunked\r\n", "0\r\nBad Trailer: y\r\n\r\n"},
	{"Host: a\r\nHost: b\r\n", ""}, {"X: a\nY: b\r\n", ""}, {"X: a\rY: b\r\n", ""}, {" X: a\r\n", ""},
	{"X: a\r\n\tb\r\n", ""},
}

// stream returns a request for streams, such as an exec, with the headers that a real client sends.
func (g *generator) stream() request {
	webSocket := func(protocol string) string {
		return "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
			"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " +
			protocol + "\r\n"
	}
	spdy := func(protocol string) string {
		return "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: " + protocol + "\r\n"
	}
	kind := pick(g, []string{"exec", "attach", "portForward"})
	r := request{Method: pick(g, []string{"POST", "GET"}), Path: "/" + kind + "/default/nginx"}
	switch {
	case kind == "portForward" && g.one(0.6):
		r.Header = spdy("portforward.k8s.io")
	case kind == "portForward" && g.one(0.5):
		r.Method, r.Header = "GET", webSocket("SPDY/3.1+portforward.k8s.io")
	case kind == "portForward":
		r.Method, r.Path, r.Header = "GET", r.Path+"?port=80",
			webSocket(pick(g, []string{"v4.channel.k8s.io", "portforward.k8s.io", "v4.base64.channel.k8s.io"}))
	default:
		r.Path += "/" + pick(g, []string{"nginx", "sidecar"}) + "?" +
			pick(g, []string{"output=1&command=true", "input=1&output=1&error=1&command=cat",
				"input=1&output=1&tty=1&command=sh", "error=1&command=ls"})
		if g.one(0.5) {
			r.Header = spdy(pick(g, []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
				"channel.k8s.io",
				"v4.channel.k8s.io\r\nX-Stream-Protocol-Version: v3.channel.k8s.io"}))
		} else {
			r.Method, r.Header = "GET", webSocket(pick(g,
				[]string{"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
					"v5.channel.k8s.io, v4.channel.k8s.io"}))
		}
	}
	return r
}

// upgrade returns the headers of an upgrade request for streams, with one of the protocols that clients use.
func (g *generator) upgrade() string {
	if g.one(0.5) {
		header := pick(g, []string{"Connection: Upgrade\r\n", "Connection: Upgrade\r\n", "Connection: upgrade\r\n",
			"Connection: keep-alive, Upgrade\r\n", ""}) +
			pick(g, []string{"Upgrade: SPDY/3.1\r\n", "Upgrade: SPDY/3.1\r\n", "Upgrade: spdy/3.1\r\n",
				"Upgrade: SPDY/3\r\n",
				"Upgrade: SPDY/3.1, websocket\r\n", ""})
		for g.one(0.7) {
			header += "X-Stream-Protocol-Version: " + pick(g, []string{
				"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", "v5.channel.k8s.io",
				"v9.channel.k8s.io", "portforward.k8s.io", "", "v4.channel.k8s.io, v3.channel.k8s.io",
			}) + "\r\n"
		}
		return header
	}
	header := pick(g, []string{"Connection: Upgrade\r\n", "Connection: Upgrade\r\n", "Connection: upgrade\r\n", ""}) +
		pick(g, []string{"Upgrade: websocket\r\n", "Upgrade: websocket\r\n", "Upgrade: WebSocket\r\n",
			"Upgrade: websocket2\r\n"}) +
		pick(g, []string{"Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\n",
			"Sec-WebSocket-Version: 13\r\n",
			"Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 99\r\n", ""}) +
		pick(g, []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Key: short\r\n", ""})
	if g.one(0.85) {
		header += "Sec-WebSocket-Protocol: " + pick(g, []string{
			"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
			"base64.channel.k8s.io",
			"v5.channel.k8s.io, v4.channel.k8s.io", "v6.channel.k8s.io",
			"SPDY/3.1+portforward.k8s.io", "portforward.k8s.io",
			"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWRtaW4tdG9rZW4", ", ,", "nope",
		}) + "\r\n"
	}
	return header
}

func (g *generator) query(t target) string {
	if g.one(0.3) && t.query == nil || t.query != nil && g.one(0.2) {
		return ""
	}
	var parts []string
	for len(parts) == 0 && t.query != nil || g.one(0.35) {
		if t.query != nil && g.one(0.85) {
			parts = append(parts, g.vary(pick(g, t.query)))
		} else if g.one(0.3) {
			parts = append(parts, pick(g,
				[]string{"x=y", "x", "%zz", ";", "a;b=c", "=", "&", "timeout=1s", "pretty=true",
					"a=%00", "a=\xff", strings.Repeat("q", 3000) + "=1"}))
		} else if t.query == nil {
			break
		}
	}
	return strings.Join(parts, "&")
}

// vary sometimes replaces a part of a query by another one of the same kind, which no list contains: a number of
// seconds, or the name of one of the node's logs.
func (g *generator) vary(part string) string {
	switch {
	case strings.HasPrefix(part, "sinceSeconds=") && g.one(0.4):
		return fmt.Sprintf("sinceSeconds=%d", pick(g, []uint64{9223372036, 1 << 33, 1 << 62, 1<<63 - 3})+g.Uint64N(4))
	case strings.HasPrefix(part, "query=") && g.one(0.3):
		var name strings.Builder
		for range 1 + g.IntN(5) {
			name.WriteString(pick(g, []string{"./", "../", "/", "//", `\`, "containers", "containers/", "deep/", "er/",
				"c.log", "kubelet.log", "kubelet", "noext", "nope", "%00", "%0A", "%FF", ".", "a%26b.log",
				strings.Repeat("n", 250+g.IntN(8))}))
		}
		return "query=" + name.String()
	}
	return part
}

// target is a path from which the generator makes other paths with mutations.
type target struct {
	path    string
	methods string // a method other than GET that the path supports
	query   []string
}

var (
	streamQuery = []string{
		"output=1", "error=1", "input=1", "tty=1", "tty=true", "stdin=1", "stdout=true", "output=0", "output=x",
		"output=1&error=1", "tty=1&error=1", "command=ls", "command=echo&command=hi", "command=",
		"input=1&output=1&tty=1",
	}
	portQuery = []string{"port=80", "port=80&port=81", "port=0", "port=x", "port=", "port=65536", "ports=80"}
)

var targets = []target{
	{path: "/pods"}, {path: "/pods/"}, {path: "/runningpods/"}, {path: "/healthz"}, {path: "/healthz/ping"},
	{path: "/healthz/syncloop", query: []string{"verbose"}},
	{path: "/healthz", query: []string{"verbose", "exclude=ping", "exclude=nope", "verbose=1",
		"exclude=log&exclude=ping"}},
	{path: "/configz"}, {path: "/metrics"}, {path: "/metrics/cadvisor"}, {path: "/metrics/resource"},
	{path: "/metrics/probes"}, {path: "/metrics/slis"},
	{path: "/stats/summary", query: []string{"only_cpu_and_memory=true", "only_cpu_and_memory=false",
		"only_cpu_and_memory=x", "only_cpu_and_memory"}}, {path: "/stats/"}, {path: "/stats/default/nginx/1/nginx"},
	{path: "/flagz"}, {path: "/statusz"}, {path: "/debug/pprof/cmdline"},
	{path: "/debug/pprof/heap", query: []string{"debug=1", "gc=1", "seconds=9223372037"}},
	{path: "/debug/pprof/profile", query: []string{"seconds=9223372037"}},
	{path: "/debug/pprof/trace", query: []string{"seconds=9223372037", "seconds=NaN"}}, {path: "/debug/pprof/nope"},
	{path: "/debug/pprof/symbol", query: []string{"0x1"}},
	{path: "/debug/flags/v", methods: "PUT"}, {path: "/allocatedPods"}, {path: "/allocatedPods/default/nginx"},
	{path: "/allocatedPods/default/nope"},
	{path: "/allocatedPods/default/nginx/8a5a2b1c-0000-4000-8000-000000000005"},
	{path: "/logs/"}, {path: "/logs/", query: logQueries}, {path: "/logs/", query: logQueries},
	{path: "/logs/kubelet.log"}, {path: "/logs/containers/"}, {path: "/logs/containers"},
	{path: "/logs/containers/deep/er/c.log"}, {path: "/logs/nope"}, {path: "/logs/noext"},
	{path: logsPath, query: queries}, {path: logsPath, query: queries}, {path: logsPath, query: queries},
	{path: logsPath}, {path: "/containerLogs/default/nginx/sidecar", query: queries},
	{path: "/containerLogs/default/nginx/odd", query: queries},
	{path: "/containerLogs/default/nginx/nope"}, {path: "/containerLogs/default/nope/nginx"},
	{path: "/containerLogs/other/nginx/nginx"},
	{path: logsPath, query: []string{"follow=true&tailLines=1", "follow&limitBytes=3", "follow=0", "follow=false"}},
	{path: "/exec/default/nginx/nginx", methods: "POST", query: streamQuery},
	{path: "/exec/default/nginx/nginx", query: streamQuery},
	{path: "/exec/default/nginx/8a5a2b1c-0000-4000-8000-000000000005/nginx", query: streamQuery},
	{path: "/exec/default/nope/nginx", query: streamQuery}, {path: "/exec/default/nginx/nope", query: streamQuery},
	{path: "/exec/default/nginx/other-uid/nginx", query: streamQuery},
	{path: "/attach/default/nginx/nginx", methods: "POST", query: streamQuery},
	{path: "/attach/default/nginx/sidecar", query: streamQuery},
	{path: "/attach/default/nope/nginx", query: streamQuery},
	{path: "/portForward/default/nginx", methods: "POST", query: portQuery},
	{path: "/portForward/default/nginx/8a5a2b1c-0000-4000-8000-000000000005", query: portQuery},
	{path: "/portForward/default/nginx/other-uid"}, {path: "/portForward/default/nope", query: portQuery},
	{path: "/run/default/nginx/nginx", methods: "POST",
		query: []string{"cmd=echo hi", "cmd=echo%20hi", "cmd=false", "cmd=nope", "cmd=", "cmd=echo%20a&cmd=b",
			"command=ls"}}, {path: "/run/default/nginx/nope", methods: "POST", query: []string{"cmd=ls"}},
	{path: "/run/default/nope/nginx", methods: "POST"},
	{path: "/checkpoint/default/nginx/nginx", methods: "POST", query: []string{"timeout=1", "timeout=x", "timeout="}},
	{path: "/checkpoint/default/nginx/nope", methods: "POST"},
	{path: "/checkpoint/default/nope/nginx", methods: "POST"},
	{path: "/"}, {path: "/nope"}, {path: "/spec/"}, {path: "/cri/exec/token"}, {path: "/version"},
	{path: "/openapi/v2"},
	{path: "/api/v1/nodes"},
}

var someMethods = []string{"POST", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get",
	"GETT", "G-T", "G T", "", "\x00", "PROPFIND", "PRI"}

var someHeaders = []string{
	"Accept: */*", "Accept: text/plain", "Accept: application/json", "Accept: application/yaml",
	"Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Accept: ,", "Accept:", "Accept: text/*",
	"Accept: application/vnd.kubernetes.protobuf", "Accept: application/openmetrics-text; version=1.0.0",
	"Accept: text/plain;version=0.0.4", "Accept: application/json;g=config.k8s.io;v=v1alpha1;as=Statusz",
	"Accept: application/json;g=config.k8s.io;v=v1alpha1;as=Flagz",
	"Accept-Encoding: gzip", "Accept-Encoding: identity", "Accept-Encoding: gzip;q=0", "Accept-Encoding: deflate",
	"Range: bytes=0-2", "Range: bytes=9-", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
	"If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT", "If-None-Match: *",
	"Impersonate-User: kubelet-client", "X-Remote-User: kubelet-client", "X-Remote-Group: system:masters",
	"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: http", "Origin: https://example.org", "Origin: null",
	"Cookie: a=b",
	"Referer: x",
	"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Audit-Id: x", "User-Agent: ",
	"User-Agent: kubectl/v1.37", "X-Http-Method-Override: DELETE", "Kubectl-Command: x",
	"Host: other", "Bad Header: x", ": x", "X", "X-Nul: \x00", "X-High: \xff\xfe", "X-Folded: a\r\n b",
	"X-Long: " + strings.Repeat("l", 9000), "Content-Type: application/json", "Keep-Alive: timeout=5", "TE: trailers",
	"Trailer: X",
	"Authorization: Bearer bad", "Authorization: Bearer admin-token", "Authorization: Basic YWRtaW46YWRtaW4=",
	"Authorization: Negotiate x", "Authorization:",
}

// mutations are functions that make a small change to a path.
var mutations = []func(g *generator, path string) string{
	func(g *generator, path string) string { return path + "/" },
	func(g *generator, path string) string {
		return path + pick(g, []string{"//", "%2F", "/.", "/..", "/x", "%00", "%0A", ";x=y", "%20", ".",
			"%", "/" + strings.Repeat("n", 256)})
	},
	func(g *generator, path string) string { return "/" + path },
	func(g *generator, path string) string {
		return pick(g, []string{"/.", "/..", "/x/..", "/%2e%2e", "/%2E", "/;"}) + path
	},
	// Insert something.
	func(g *generator, path string) string {
		return g.insert(path, pick(g, []string{"/", "//", "/./", "/../", "%2F", "%2f", "%5C", "\\", "%00", "%01", "%0A",
			"%zz",
			"%", "é", "%C3%A9", "\xff", "%FF", "+", "*", "{x}", "\"", "<", "'", "%25", "%252F", " ", "\t", "@", ":",
			"~",
			"|"}))
	},
	// This mutation percent-encodes one byte of the path, with uppercase or lowercase hex digits.
	func(g *generator, path string) string {
		at := g.IntN(max(len(path), 1))
		if path == "" {
			return "/"
		}
		return path[:at] + fmt.Sprintf(pick(g, []string{"%%%02X", "%%%02x"}), path[at]) + path[at+1:]
	},
	func(g *generator, path string) string {
		at := g.IntN(max(len(path), 1))
		if path == "" {
			return "/"
		}
		if letter := path[at]; letter >= 'a' && letter <= 'z' {
			return path[:at] + string(letter-32) + path[at+1:]
		}
		return strings.ToUpper(path)
	},
	// The next three mutations remove, repeat or replace one segment of the path.
	func(g *generator, path string) string {
		return g.segments(path, func(parts []string, at int) []string { return append(parts[:at:at], parts[at+1:]...) })
	},
	func(g *generator, path string) string {
		return g.segments(path, func(parts []string,
			at int) []string {
			return append(parts[:at+1:at+1], parts[at:]...)
		})
	},
	func(g *generator, path string) string {
		return g.segments(path, func(parts []string, at int) []string {
			parts[at] = pick(g, []string{"", ".", "..", "nginx", "default", "nope", "kube-system", "%2e", "*",
				"nginx%2Fnginx",
				strings.Repeat("n", 300), strings.Repeat("n", 8000), "中"})
			return parts
		})
	},
	// This mutation returns an unusual request target: an absolute URL, a path without the leading slash, a path with
	// a fragment, "*", or nothing.
	func(g *generator, path string) string {
		return pick(g, []string{"http://elsewhere" + path, "https://node-1:10250" + path, "http:" + path,
			strings.TrimPrefix(path, "/"), "*", path + "#x", "?" + path, "http://[::1" + path, "",
			"//elsewhere" + path})
	},
}

func (g *generator) insert(path, part string) string {
	at := g.IntN(len(path) + 1)
	return path[:at] + part + path[at:]
}

func (g *generator) segments(path string, change func([]string, int) []string) string {
	parts := strings.Split(path, "/")
	return strings.Join(change(parts, g.IntN(len(parts))), "/")
}
