package recordings

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// A Mask removes from a response body the parts that differ between two runs of the same server.
type Mask struct {
	What string
	of   func(body string) bool // "of" reports whether the mask applies to a body
	do   func(body string) string
}

func matching(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

func replaced(from, to string) func(string) string {
	pattern := regexp.MustCompile(from)
	return func(body string) string { return pattern.ReplaceAllString(body, to) }
}

// Masks lists all masks. Apart from the masks, the comparison replaces the addresses and folders of the two processes
// and the values of the headers Last-Modified (of /logs/) and Process-Start-Time-Unix, and removes the header Date.
var Masks = []Mask{
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
func (o *Observation) mask(s *Peer) {
	if o.Header == nil {
		return
	}
	o.Header.Del("Date")
	for _, name := range []string{"Process-Start-Time-Unix", "Last-Modified"} {
		if o.Header.Get(name) != "" {
			o.Header.Set(name, "then")
		}
	}
	if o.Header.Get("Content-Encoding") == "gzip" {
		if reader, err := gzip.NewReader(strings.NewReader(o.Body)); err == nil {
			if text, err := io.ReadAll(reader); err == nil {
				o.Body = string(text)
				o.Header.Del("Content-Length")
			}
		}
	}
	before := o.Body
	for _, m := range Masks {
		if m.of(o.Body) {
			o.Body = m.do(o.Body)
		}
	}
	if o.Body != before {
		o.Header.Del("Content-Length")
		if profile(before) || journalEntries.MatchString(before) { // a short body has a length, a long one is chunked
			o.Header.Del("Transfer-Encoding")
		}
	}
	length := len(o.Body)
	if o.Body = s.Same.Replace(o.Body); len(o.Body) != length {
		o.Header.Del("Content-Length")
	}
	for name, values := range o.Header {
		for i := range values {
			o.Header[name][i] = s.Same.Replace(values[i])
		}
	}
}

// lengthOfMasked reports whether the two servers can send different Content-Length headers in response to a HEAD
// request. They can if the masks change the response body to a GET of the same path, because the masked parts can have
// different lengths.
func lengthOfMasked(method, target string, code int) bool {
	return method == http.MethodHead && code == http.StatusOK &&
		slices.Contains([]string{"metrics", "stats", "flagz", "statusz", "debug"}, RootOf(target))
}

func profile(body string) bool {
	for _, begin := range []string{"\x1f\x8b", "go 1.", "heap profile:", "goroutine profile:", "threadcreate profile:",
		"--- mutex", "--- contention"} {
		if strings.HasPrefix(body, begin) {
			return true
		}
	}
	return strings.Contains(body, "\x00--") || strings.Contains(body, "\x00-test.") // a command line
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

// Difference is a difference between two answers. Its aspect is "connection", "status", "header NAME", "body" or
// "reviews".
type Difference struct{ Aspect, Detail string }

// Compare returns the differences between the answers to a request: of the reference, and of fauxlet.
func Compare(want, got Observation) []Difference {
	var all []Difference
	add := func(aspect string, want, got any) {
		all = append(all, Difference{aspect, "(-reference +fauxlet)\n" + cmp.Diff(want, got)})
	}
	if first, second := endOf(want), endOf(got); first != second {
		add("connection", first, second)
	}
	if want.Status != got.Status {
		add("status", want.Status, got.Status)
	}
	names := map[string]bool{}
	for _, header := range []http.Header{want.Header, got.Header} {
		for name := range header {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Equal(want.Header[name], got.Header[name]) {
			add("header "+name, want.Header[name], got.Header[name])
		}
	}
	if want.Body != got.Body {
		// Put each JSON field on its own line, so that a diff by lines shows only the fields that differ.
		add("body", lines(want.Body), lines(got.Body))
	}
	if !slices.Equal(want.Reviews, got.Reviews) {
		add("reviews", want.Reviews, got.Reviews)
	}
	return all
}

// invalidName matches the error of Go's HTTP client for a request with invalid names of headers. It names one of them
// at random.
var invalidName = regexp.MustCompile(`(invalid header field name) ".*"$`)

// endOf describes how the exchange ended.
func endOf(o Observation) string { return invalidName.ReplaceAllString(o.Failed, "$1") + o.Connection }

func lines(body string) string { return strings.ReplaceAll(body, ",", ",\n") }

// RootOf returns the first segment of a request path. It identifies the route.
func RootOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	root, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	for _, known := range roots {
		if root == known {
			return root
		}
	}
	return "other"
}

// roots are the first segments of the paths that a kubelet serves.
var roots = []string{
	"pods", "runningpods", "allocatedPods", "containerLogs", "run", "exec", "attach", "portForward", "checkpoint",
	"logs", "stats", "metrics", "healthz",
	"configz", "flagz", "statusz", "debug",
}

// Names replaces what is different in each process, such as the names of files, by the names that the recordings have.
type Names struct {
	texts   *strings.Replacer
	numbers *regexp.Regexp
	ports   map[string]string
}

// NewNames returns Names for alternating old and new texts, and for port numbers. A port number within a longer number
// is not replaced.
func NewNames(texts []string, ports map[string]string) *Names {
	n := &Names{texts: strings.NewReplacer(texts...), ports: ports}
	numbers := slices.Collect(maps.Keys(ports))
	numbers = slices.DeleteFunc(numbers, func(port string) bool { return port == "" }) // a port that is not open
	if len(numbers) > 0 {
		n.numbers = regexp.MustCompile(`\b(` + strings.Join(numbers, "|") + `)\b`)
	}
	return n
}

// Replace returns a text with all replacements.
func (n *Names) Replace(text string) string {
	text = n.texts.Replace(text)
	if n.numbers == nil {
		return text
	}
	return n.numbers.ReplaceAllStringFunc(text, func(port string) string { return n.ports[port] })
}
