// Package recordings has the answers of the kubelet's own servers of several minors of Kubernetes to the same requests,
// and sends these requests to fauxlet for comparison.
//
// The files in the folder "data" are compressed JSON. requests.json.gz has the requests, with the configurations of the
// servers. Each other file has the answers of one minor. `make record VERSION=1.33` makes a file anew (e2e/same,
// TestRecord). A test in package server replays all recordings.
package recordings

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/faults"
)

//go:embed data
var files embed.FS

// Suite has the requests that all recordings answer.
type Suite struct {
	// Pods is a core/v1 PodList in YAML. The keys of Logs are namespace_pod_container.log, and
	// namespace_pod_container.previous.log for the log of a container that has ended. The values have the format of the
	// CRI. NodeLogs has files below /var/log.
	Pods           string            `json:"pods"`
	Logs           map[string]string `json:"logs"`
	NodeLogs       map[string]string `json:"nodeLogs"`
	Configurations map[string]Setup  `json:"configurations"`

	hash string
}

// Setup is a configuration of a server, with the conversations that it takes part in.
type Setup struct {
	// Settings are fields of the KubeletConfiguration, such as "authentication.anonymous.enabled". They have no files,
	// addresses and ports.
	Settings map[string]any `json:"settings,omitempty"`
	// Flags, if not nil, are flags of a server without a configuration file. The values ca.crt and kubeconfig stand for
	// the paths of such files.
	Flags []string `json:"flags"`
	// Caches is true if the server caches the results of reviews, for an hour.
	Caches        bool           `json:"caches,omitempty"`
	Faults        []faults.Fault `json:"faults,omitempty"` // active in the server that answers the reviews
	Conversations []Conversation `json:"conversations"`
}

// Recording has the answers of one server to the requests of a Suite.
type Recording struct {
	Module string `json:"module"` // such as "k8s.io/kubernetes v1.33.13"
	Date   string `json:"date"`   // the day on which the recording was made
	Suite  string `json:"suite"`  // hash of the file with the requests
	// Measured is true if the recording has the bodies of statistics and the output of commands. The servers of older
	// minors run without them.
	Measured bool `json:"measured"`
	// Answers has the different answers. Given has the answers to the requests of each configuration, in their order,
	// as indexes of Answers. The index -1 means that two servers of this version answered differently.
	Answers []Answer         `json:"answers"`
	Given   map[string][]int `json:"given"`
	// Refused has the configurations with which the server did not start, and its errors. If the reasons are feature
	// gates, Without has the names of these gates, and the answers were given without them. Otherwise there are no
	// answers.
	Refused map[string]string   `json:"refused,omitempty"`
	Without map[string][]string `json:"without,omitempty"`
}

// Answer is an Observation in a form that does not depend on the addresses, files and certificates of one run.
type Answer struct {
	Failed     Octets   `json:"failed,omitempty"`
	Status     Octets   `json:"status,omitempty"`
	Code       int      `json:"code,omitempty"`
	Header     []Octets `json:"header,omitempty"`
	Body       Octets   `json:"body,omitempty"`
	Reviews    []string `json:"reviews,omitempty"`
	Connection Octets   `json:"connection,omitempty"`
}

// LoadSuite returns the requests.
func LoadSuite() (*Suite, error) {
	data, err := files.ReadFile("data/requests.json.gz")
	if err != nil {
		return nil, err
	}
	s := &Suite{}
	text, err := unzip(data, s)
	s.hash = fmt.Sprintf("%x", sha256.Sum256(text))
	return s, err
}

// Minors returns the minors that have a recording, such as "1.33", the oldest first.
func Minors() []string {
	entries, err := files.ReadDir("data")
	if err != nil {
		return nil
	}
	var all []string
	for _, entry := range entries {
		if minor, found := strings.CutSuffix(entry.Name(), ".json.gz"); found && minor != "requests" {
			all = append(all, minor)
		}
	}
	return slices.Sorted(slices.Values(all))
}

// Load returns the recording of a minor. It returns an error if the recording was made with other requests.
func (s *Suite) Load(minor string) (*Recording, error) {
	data, err := files.ReadFile("data/" + minor + ".json.gz")
	if err != nil {
		return nil, err
	}
	r := &Recording{}
	if _, err := unzip(data, r); err != nil {
		return nil, fmt.Errorf("internal/recordings/data/%s.json.gz: %w", minor, err)
	}
	if r.Suite != s.hash {
		return nil, fmt.Errorf("internal/recordings/data/%s.json.gz was made with other requests than "+
			"requests.json.gz; "+
			"run make record VERSION=%s", minor, minor)
	}
	return r, nil
}

// Write writes the requests to requests.json.gz in a folder.
func (s *Suite) Write(dir string) error {
	text, err := write(filepath.Join(dir, "requests.json.gz"), s)
	s.hash = fmt.Sprintf("%x", sha256.Sum256(text))
	return err
}

// Write writes the recording of a minor to a folder.
func (r *Recording) Write(dir, minor string, s *Suite) error {
	r.Suite = s.hash
	_, err := write(filepath.Join(dir, minor+".json.gz"), r)
	return err
}

func write(path string, value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	w, err := gzip.NewWriterLevel(&data, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return text, atomicfile.Write(path, data.Bytes(), 0o644)
}

func unzip(data []byte, into any) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return text, json.Unmarshal(text, into)
}

// Answers plays the conversations of a configuration to a server, one after another, and returns the answers to all
// requests. The function "fail" sets the faults of the server that answers the reviews.
func (s *Setup) Answers(peer *Peer, measured bool, fail func([]faults.Fault) error) ([]Answer, error) {
	var all []Answer
	for i := range s.Conversations {
		c := &s.Conversations[i]
		active := c.Faults
		if s.Faults != nil {
			active = s.Faults
		}
		if err := fail(active); err != nil {
			return nil, err
		}
		for j, o := range c.Hold(peer) {
			if !measured {
				o.forgetMeasured(c.Requests[j].Path)
			}
			all = append(all, o.answer(peer.Clients[c.As]))
		}
	}
	return all, nil
}

// Requests returns the request with the given index among all requests of the configuration: its conversation, and its
// index in the conversation.
func (s *Setup) Request(index int) (*Conversation, int) {
	for i := range s.Conversations {
		c := &s.Conversations[i]
		if index < len(c.Requests) {
			return c, index
		}
		index -= len(c.Requests)
	}
	return nil, 0
}

// forgetMeasured removes the body of an answer that has statistics or the output of a command.
func (o *Observation) forgetMeasured(path string) {
	switch root := RootOf(path); {
	case o.Code == http.StatusOK && (root == "stats" || strings.HasPrefix(o.Body, "# HELP container_") ||
		strings.HasPrefix(o.Body, "# HELP ") && root == "metrics"):
	case root == "run" && (o.Code == http.StatusOK || o.Code == http.StatusInternalServerError):
	default:
		return
	}
	o.Body = "(not recorded)"
	o.Header.Del("Content-Length")
	o.Header.Del("Transfer-Encoding")
}

// answer converts an observation. It replaces the fingerprint of the client's certificate.
func (o *Observation) answer(as Client) Answer {
	a := Answer{Failed: Octets(o.Failed), Status: Octets(o.Status), Code: o.Code, Body: Octets(o.Body),
		Connection: Octets(o.Connection)}
	for name, values := range o.Header {
		for _, value := range values {
			a.Header = append(a.Header, Octets(name+": "+value))
		}
	}
	slices.SortStableFunc(a.Header, func(a, b Octets) int {
		first, _, _ := strings.Cut(string(a), ": ")
		second, _, _ := strings.Cut(string(b), ": ")
		return strings.Compare(first, second)
	})
	for _, review := range o.Reviews {
		if as.Certificate != nil {
			review = strings.ReplaceAll(review, fmt.Sprintf("%x", sha256.Sum256(as.Certificate.Certificate[0])),
				"(fingerprint)")
		}
		a.Reviews = append(a.Reviews, review)
	}
	return a
}

// WithoutGates returns the configuration without feature gates.
func (s Setup) WithoutGates(names []string) Setup {
	gates, given := s.Settings["featureGates"].(map[string]any)
	if len(names) == 0 || !given {
		return s
	}
	gates = maps.Clone(gates)
	for _, name := range names {
		delete(gates, name)
	}
	s.Settings = maps.Clone(s.Settings)
	s.Settings["featureGates"] = gates
	return s
}

// SharedMetrics removes from fauxlet's metrics those that the recorded ones do not have. Servers in one process share
// some metrics, so that each also has the metrics that only other servers have used.
func (a *Answer) SharedMetrics(got *Answer) {
	if !strings.HasPrefix(string(a.Body), "# HELP ") || !strings.HasPrefix(string(got.Body), "# HELP ") {
		return
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(a.Body)) {
		known[line] = true
	}
	var kept strings.Builder
	for line := range strings.Lines(string(got.Body)) {
		if known[line] {
			kept.WriteString(line)
		}
	}
	got.Body = Octets(kept.String())
}

// Compare returns the differences between two answers to the same request: of the reference, and of fauxlet.
func (a *Answer) Compare(got *Answer) []Difference {
	return Compare(a.observation(), got.observation())
}

func (a *Answer) observation() Observation {
	o := Observation{Failed: string(a.Failed), Status: string(a.Status), Code: a.Code, Header: http.Header{},
		Body: string(a.Body), Reviews: a.Reviews, Connection: string(a.Connection)}
	for _, line := range a.Header {
		name, value, _ := strings.Cut(string(line), ": ")
		o.Header[name] = append(o.Header[name], value)
	}
	return o
}

// Octets is a string that need not be UTF-8. In JSON, each byte is the character with the same number.
type Octets string

func (o Octets) MarshalJSON() ([]byte, error) {
	characters := make([]rune, len(o))
	for i := range len(o) {
		characters[i] = rune(o[i])
	}
	return json.Marshal(string(characters))
}

func (o *Octets) UnmarshalJSON(data []byte) error {
	var characters string
	if err := json.Unmarshal(data, &characters); err != nil {
		return err
	}
	var all []byte
	for _, c := range characters {
		if c > 0xff {
			return fmt.Errorf("%q: want characters up to U+00FF, which stand for bytes", c)
		}
		all = append(all, byte(c))
	}
	*o = Octets(all)
	return nil
}

// Version returns the version of Kubernetes that gave the answers, such as "1.33.13".
func (r *Recording) Version() string {
	_, version, _ := strings.Cut(r.Module, " v")
	return version
}

// Add adds an answer unless the recording has it, and returns its index. The map has the indexes of the answers.
func (r *Recording) Add(a *Answer, indexes map[string]int) int {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // an Answer has only strings and numbers
	}
	index, known := indexes[string(text)]
	if !known {
		index = len(r.Answers)
		indexes[string(text)], r.Answers = index, append(r.Answers, *a)
	}
	return index
}
