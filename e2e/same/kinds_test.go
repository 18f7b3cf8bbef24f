package same

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/vectors"
)

// kind is a kind of generated requests. TestCompare prints how many of its requests were of each kind.
type kind struct {
	name string
	of   func(b batch, talk *conversation, r *request) bool
}

// kinds lists the kinds of requests that the generator must produce. Most of them have once shown a difference between
// fauxlet and a kubelet. A request can be of several kinds.
var kinds = []kind{
	{"/run with a form body beside the query", func(_ batch, _ *conversation, r *request) bool {
		return strings.HasPrefix(r.Path, "/run/") && strings.Contains(r.Path, "cmd=") &&
			strings.Contains(r.Header, "form-urlencoded") && strings.Contains(r.Body, "cmd=")
	}},
	{"queries of the node's logs", func(b batch, _ *conversation, r *request) bool {
		return b.configuration == "log-query" && strings.HasPrefix(r.Path, "/logs/?") &&
			strings.Contains(r.Path, "query=")
	}},
	{"a line feed in the path", func(_ batch, _ *conversation, r *request) bool {
		return strings.Contains(unescapedPath(r), "\n")
	}},
	{"sinceSeconds that overflows", onPath(`^/containerLogs/.*\?.*sinceSeconds=\d{10,}`)},
	{"a name of more than 255 bytes in the path", onPath(`^/[^?]*/[^/?]{256}`)},
	{"a log with empty parts and without a final line feed", onPath(`^/containerLogs/default/nginx/odd`)},
	{"a profile that ends at once", onPath(`/debug/pprof/.*seconds=(NaN|9223372037)`)},
	{"more streams than a kubelet remembers (429)", func(b batch, talk *conversation, _ *request) bool {
		return b.flood && talk.From == beyondFlood
	}},
	{"malformed HTTP/1", func(_ batch, talk *conversation, r *request) bool {
		return !talk.HTTP2 && malformed(r)
	}},
	{"an upgrade to WebSocket", withHeader("upgrade: websocket")},
	{"an upgrade to SPDY", withHeader("upgrade: spdy/3.1")},
	{"credential: certificate alone", asClient(func(c client) bool { return c.Certificate != nil && !hasToken(c) })},
	{"credential: token alone", asClient(func(c client) bool { return c.Certificate == nil && hasToken(c) })},
	{"credential: certificate and token", asClient(func(c client) bool {
		return c.Certificate != nil && hasToken(c)
	})},
	{"credential: token in a WebSocket protocol", asClient(func(c client) bool {
		return strings.Contains(c.Header, "base64url.bearer.")
	})},
	{"credential: none", asClient(func(c client) bool { return c.Certificate == nil && c.Header == "" })},
	{"HTTP/2", func(_ batch, talk *conversation, _ *request) bool { return talk.HTTP2 }},
	{"HTTP/1.0", func(_ batch, talk *conversation, r *request) bool { return r.Protocol == "HTTP/1.0" }},
	{"pipelined", func(_ batch, talk *conversation, _ *request) bool { return talk.Pipelined }},
	{"to the read-only port", func(_ batch, talk *conversation, _ *request) bool { return talk.ReadOnly }},
}

func onPath(pattern string) func(batch, *conversation, *request) bool {
	compiled := regexp.MustCompile(pattern)
	return func(_ batch, _ *conversation, r *request) bool { return compiled.MatchString(r.Path) }
}

func withHeader(line string) func(batch, *conversation, *request) bool {
	return func(_ batch, _ *conversation, r *request) bool {
		return strings.Contains(strings.ToLower(r.Header), line)
	}
}

func asClient(of func(client) bool) func(batch, *conversation, *request) bool {
	return func(b batch, talk *conversation, _ *request) bool { return of(b.clients[talk.As]) }
}

func hasToken(c client) bool {
	return strings.Contains(c.Header, "Authorization:") || strings.Contains(c.Header, "base64url.bearer.")
}

func unescapedPath(r *request) string {
	path, _, _ := strings.Cut(r.Path, "?")
	if unescaped, err := url.PathUnescape(path); err == nil {
		return unescaped
	}
	return path
}

// malformed reports whether Go's HTTP library refuses the request or its body.
func malformed(r *request) bool {
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.Text(""))))
	if err != nil {
		return true
	}
	defer parsed.Body.Close()
	_, err = io.Copy(io.Discard, parsed.Body)
	return err != nil
}

// kindsOf returns the names of the kinds of a request.
func kindsOf(b batch, talk *conversation, i int) []string {
	var names []string
	for _, k := range kinds {
		if k.of(b, talk, &talk.Requests[i]) {
			names = append(names, k.name)
		}
	}
	return names
}

// beyondFlood is the origin of the requests that a kubelet refuses with 429.
const beyondFlood = "the end of a flood"

// flood returns 1,000 requests for streams that do not upgrade their connection, and ten more. A kubelet refuses the
// last ten.
func flood(seed uint64) []conversation {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	var all []conversation
	for i := range 101 {
		talk := conversation{From: "flood", As: "kubelet-client", Quick: true}
		if i == 100 {
			talk.From = beyondFlood
		}
		for range 10 {
			talk.Requests = append(talk.Requests, request{Method: "POST", Path: pick(g, []string{
				"/exec/default/nginx/nginx?output=1", "/exec/default/nginx/sidecar?input=1&output=1&command=cat",
				"/attach/default/nginx/nginx?output=1", "/portForward/default/nginx"})})
		}
		all = append(all, talk)
	}
	return all
}

// TestGeneratorReachesKinds generates 20,000 requests without sending them. Each kind must occur among them.
func TestGeneratorReachesKinds(t *testing.T) {
	t.Parallel()
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	clients, all := newClients(t, corpus), allConfigurations(corpus)
	for _, first := range []uint64{1, 1000} {
		found, made := map[string]int{}, 0
		for seed := first; made < 20_000; seed++ {
			b := batchOf(seed, sortedKeys(all), clients)
			http2 := all[b.configuration].settings["authentication.x509.clientCAFile"] == ""
			for _, talk := range b.conversations(http2) {
				made += len(talk.Requests)
				for i := range talk.Requests {
					for _, name := range kindsOf(b, &talk, i) {
						found[name]++
					}
				}
			}
		}
		for _, k := range kinds {
			t.Logf("seed %d: %d of %d Requests: %s", first, found[k.name], made, k.name)
			if found[k.name] < 3 {
				t.Errorf("seed %d: only %d of %d requests are of the kind %q", first, found[k.name], made, k.name)
			}
		}
	}
}
