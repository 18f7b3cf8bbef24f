package same

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fauxlet/e2e/internal/expect"
)

// A mask removes from a response body the parts that differ between two runs of the same server.
type mask struct {
	What string
	of   func(body string) bool // "of" reports whether the mask applies to a body
	do   func(body string) string
}

func matching(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

func replaced(from, to string) func(string) string {
	pattern := regexp.MustCompile(from)
	return func(body string) string { return pattern.ReplaceAllString(body, to) }
}

// masks lists all masks. Apart from the masks, the comparison replaces the addresses and folders of the two processes
// and the values of the headers Last-Modified (of /logs/) and Process-Start-Time-Unix, and removes the header Date.
var masks = []mask{
	{"numbers and times in /stats/summary, and the order of its systemContainers, which a kubelet keeps in a map",
		matching(`^\{\s*"node":`), summary},
	{"the sign between names and values in /flagz and /statusz, which each process chooses at random",
		matching(`^\s*kubelet (flagz|statusz)\n`), signs},
	{"the start and age of a process in /statusz", matching(`^\s*kubelet statusz\n`),
		replaced(`(?m)^(Started|Up)\|.*$`, "$1|then")},
	{"the start and age of a process in the JSON of /statusz", matching(`^\{"kind":"Statusz"`),
		replaced(`"(startTime|uptimeSeconds)":("[^"]*"|\d+)`, `"$1":"then"`)},
	{"scrape_error, which a release hides. The reference is built without a version and shows it",
		func(body string) bool {
			return strings.HasPrefix(body, "# HELP ") && strings.Contains(body, "scrape_error")
		},
		replaced(`(?m)^(# (HELP|TYPE) )?scrape_error .*\n`, "")},
	{"all metrics in /metrics that are not about serving", func(body string) bool {
		return strings.HasPrefix(body, "# HELP ") && strings.Contains(body, "# TYPE go_info ")
	}, families},
	{"the values of samples in /metrics/*", matching(`^# HELP `), samples},
	{"the entries of the journal, which fauxlet makes up", journalEntries.MatchString,
		func(body string) string { return journalEntries.ReplaceAllString(body, "(the journal)\n") }},
	{"credentials in an error that repeats the headers of a request for streams, where fauxlet shows `removed`",
		matching(`^unable to upgrade: missing upgrade headers in request: http\.Header\{`),
		withoutCredentials},
	{"profiles and the command line in /debug/pprof/, which depend on the process", profile,
		func(string) string { return "(about the process)" }},
}

// withoutCredentials replaces the credentials in an error that repeats the headers of a request.
func withoutCredentials(body string) string {
	body = replaced(`("Authorization":\[\]string\{)("(?:[^"\\]|\\.)*"(?:, )?)+\}`, "$1(removed)}")(body)
	return replaced(`(base64url\.bearer\.authorization\.k8s\.io\.)[^,"]*`, "${1}(removed)")(body)
}

// journalEntries matches a response to a query of the journal: the entries that fauxlet makes up, and the output of
// the script journalctl in package kubelet.
var journalEntries = regexp.MustCompile(`\A(?:-- No entries --\n|Data from the specified boot .*\n|` +
	`(?:\w{3} \d\d [\d:.]+ node-1 \w+\[\d+\]: .*\n)+)`)

// mask applies all masks to the body of an observation. It also replaces addresses and folders in the body and the
// headers.
func (o *observation) mask(s *side) {
	if o.header == nil {
		return
	}
	o.header.Del("Date")
	for _, name := range []string{"Process-Start-Time-Unix", "Last-Modified"} {
		if o.header.Get(name) != "" {
			o.header.Set(name, "then")
		}
	}
	if o.header.Get("Content-Encoding") == "gzip" {
		if reader, err := gzip.NewReader(strings.NewReader(o.body)); err == nil {
			if text, err := io.ReadAll(reader); err == nil {
				o.body = string(text)
				o.header.Del("Content-Length")
			}
		}
	}
	before := o.body
	for _, m := range masks {
		if m.of(o.body) {
			o.body = m.do(o.body)
		}
	}
	if o.body != before {
		o.header.Del("Content-Length")
		if profile(before) || journalEntries.MatchString(before) { // a short body has a length, a long one is chunked
			o.header.Del("Transfer-Encoding")
		}
	}
	o.body = s.same.Replace(o.body)
	for name, values := range o.header {
		for i := range values {
			o.header[name][i] = s.same.Replace(values[i])
		}
	}
}

// lengthOfMasked reports whether the two servers can send different Content-Length headers in response to a HEAD
// request. They can if the masks change the response body to a GET of the same path, because the masked parts can have
// different lengths.
func lengthOfMasked(method, target string, code int) bool {
	return method == http.MethodHead && code == http.StatusOK &&
		slices.Contains([]string{"metrics", "stats", "flagz", "statusz", "debug"}, rootOf(target))
}

func TestLengthOfMaskedBodies(t *testing.T) {
	for _, test := range []struct {
		method, target string
		code           int
		want           bool
	}{
		{"HEAD", "/metrics/slis", 200, true}, {"HEAD", "/metrics", 200, true}, {"HEAD", "/stats/summary", 200, true},
		{"HEAD", "/statusz?x", 200, true}, {"HEAD", "/debug/pprof/heap", 200, true},
		{"GET", "/metrics/slis", 200, false}, {"HEAD", "/metrics/slis", 403, false}, {"HEAD", "/pods", 200, false},
		{"HEAD", "/healthz", 200, false},
	} {
		if got := lengthOfMasked(test.method, test.target, test.code); got != test.want {
			t.Errorf("%s %s, %d: %v", test.method, test.target, test.code, got)
		}
	}
}

func profile(body string) bool {
	for _, begin := range []string{"\x1f\x8b", "go 1.", "heap profile:", "goroutine profile:", "threadcreate profile:",
		"--- mutex", "--- contention"} {
		if strings.HasPrefix(body, begin) {
			return true
		}
	}
	return strings.Contains(body, "\x00--")
}

// summary returns the body of a /stats/summary response without its numbers.
func summary(body string) string {
	var parsed map[string]any
	if err := json.Unmarshal([]byte(body), &parsed); err != nil {
		return body
	}
	if node, ok := parsed["node"].(map[string]any); ok {
		if containers, ok := node["systemContainers"].([]any); ok {
			slices.SortFunc(containers, func(a, b any) int {
				return strings.Compare(fmt.Sprint(a.(map[string]any)["name"]), fmt.Sprint(b.(map[string]any)["name"]))
			})
		}
	}
	sorted, err := json.MarshalIndent(parsed, "", " ")
	if err != nil {
		return body
	}
	return numbers.ReplaceAllString(string(sorted), "$1 N")
}

var numbers = regexp.MustCompile(`(":) ("[0-9T:.Z-]{20,}"|-?[0-9.e+]+)`)

// signs rewrites the body of /flagz or /statusz: it replaces the sign between names and values, such as a colon, by a
// bar. A server chooses this sign at random.
func signs(body string) string {
	first := regexp.MustCompile(`(?m)^(?:Started|address)(: |:|=| )`).FindStringSubmatch(body)
	if first == nil {
		return body
	}
	line := regexp.MustCompile(`(?m)^([a-z0-9-]+|Started|Up|Go version|Binary version|Emulation version|Paths)` +
		first[1] + ` ?`)
	head, rest, found := strings.Cut(body, "debugging purposes only.\n")
	if !found {
		return body
	}
	return head + line.ReplaceAllString(rest, "$1|")
}

// families returns the names and types of the metrics about serving requests, which both servers have. The values of
// these metrics are compared at the end of the test.
func families(body string) string {
	var all []string
	for line := range strings.Lines(body) {
		for _, prefix := range []string{"kubelet_http_", "kubelet_server_", "kubelet_websocket_",
			"apiserver_delegated_",
			"authentication_", "authorization_", "kubernetes_healthcheck", "kubernetes_feature_enabled",
			"kubernetes_build_info", "prober_", "process_start"} {
			if strings.HasPrefix(line, "# HELP "+prefix) || strings.HasPrefix(line, "# TYPE "+prefix) {
				all = append(all, line)
			}
		}
	}
	return strings.Join(all, "")
}

// samples removes the values and times of the samples in a response of /metrics/*.
func samples(body string) string {
	var names strings.Builder
	for line := range strings.Lines(body) {
		if end := strings.LastIndexByte(line, '}'); !strings.HasPrefix(line, "#") {
			name, _, found := strings.Cut(line[end+1:], " ")
			if found {
				line = line[:end+1] + name + "\n"
			}
		}
		names.WriteString(line)
	}
	return names.String()
}

type difference struct{ aspect, detail string }

// compare returns the differences between the observations of a request to both servers.
func compare(want, got observation) []difference {
	var all []difference
	add := func(aspect string, want, got any) {
		all = append(all, difference{aspect, "(-reference +fauxlet)\n" + cmp.Diff(want, got)})
	}
	if want.failed+want.connection != got.failed+got.connection {
		add("connection", want.failed+want.connection, got.failed+got.connection)
	}
	if want.status != got.status {
		add("status", want.status, got.status)
	}
	names := map[string]bool{}
	for _, header := range []http.Header{want.header, got.header} {
		for name := range header {
			names[name] = true
		}
	}
	for _, name := range sortedKeys(names) {
		if !slices.Equal(want.header[name], got.header[name]) {
			add("header "+name, want.header[name], got.header[name])
		}
	}
	if want.body != got.body {
		// Put each JSON field on its own line, so that a diff by lines shows only the fields that differ.
		add("body", lines(want.body), lines(got.body))
	}
	if !slices.Equal(want.reviews, got.reviews) {
		add("reviews", want.reviews, got.reviews)
	}
	return all
}

func lines(body string) string { return strings.ReplaceAll(body, ",", ",\n") }

// divergence is an allowed difference between the answers of fauxlet and of the kubelet's own server, as listed in
// divergences.json.
type divergence struct {
	Requests string   `json:"requests"` // regular expression for the whole ID of a request
	Differs  []string `json:"differs"`  // any of: status, body, reviews, connection, header NAME
	Fauxlet  int      `json:"fauxlet"`  // status of fauxlet's response; with another status no difference is allowed
	Reason   string   `json:"reason"`

	matches *regexp.Regexp
	mu      sync.Mutex      // guards seen
	seen    map[string]bool // seen contains the entries of Differs that occurred
}

type divergences []*divergence

func readDivergences(t *testing.T) divergences {
	t.Helper()
	file, err := os.Open("divergences.json")
	expect.NoError(t, err)
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var all divergences
	expect.NoError(t, decoder.Decode(&all))
	for _, d := range all {
		if d.Reason == "" || d.Fauxlet == 0 || len(d.Differs) == 0 {
			t.Fatalf("divergences.json: %q: set reason, fauxlet and differs", d.Requests)
		}
		d.matches, err = regexp.Compile("^(?:" + d.Requests + ")$")
		expect.NoError(t, err)
		d.seen = map[string]bool{}
	}
	return all
}

// allow reports whether divergences.json allows a difference in the given aspect of two answers. It allows no
// difference if the kubelet's answer is a 401 or 403.
func (all divergences) allow(id, aspect string, want, got observation) bool {
	if want.code == http.StatusUnauthorized || want.code == http.StatusForbidden {
		return false
	}
	allowed := false
	for _, d := range all {
		if got.code == d.Fauxlet && slices.Contains(d.Differs, aspect) && d.matches.MatchString(id) {
			d.mu.Lock()
			d.seen[aspect], allowed = true, true
			d.mu.Unlock()
		}
	}
	return allowed
}

// The method "gone" returns the divergences for which at least one entry of Differs did not occur.
func (all divergences) gone() divergences {
	return slices.DeleteFunc(slices.Clone(all), func(d *divergence) bool { return len(d.seen) == len(d.Differs) })
}

func (d *divergence) String() string {
	return strconv.Quote(d.Requests) + ", " + strings.Join(d.Differs, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
