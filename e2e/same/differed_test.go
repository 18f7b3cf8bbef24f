package same

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fauxlet/e2e/internal/expect"
)

// differedFile has conversations to which fauxlet and a kubelet once gave different answers, one as JSON in each line.
// TestCompare adds the conversations that it finds, after it has reduced them. TestSameAnswers sends them again.
const differedFile = "testdata/differed.jsonl"

// differed is a conversation in differedFile.
type differed struct {
	Configuration string            `json:"configuration"`
	As            string            `json:"as"`
	ReadOnly      bool              `json:"readOnly,omitempty"`
	HTTP2         bool              `json:"http2,omitempty"`
	Pipelined     bool              `json:"pipelined,omitempty"`
	Quick         bool              `json:"quick,omitempty"`
	Requests      []differedRequest `json:"requests"`
}

type differedRequest struct {
	Method   octets `json:"method,omitempty"`
	Path     octets `json:"path,omitempty"`
	Protocol octets `json:"protocol,omitempty"`
	Header   octets `json:"header,omitempty"`
	Body     octets `json:"body,omitempty"`
}

// octets is a string that need not be UTF-8. In JSON, each byte is the character with the same number.
type octets string

func (o octets) MarshalJSON() ([]byte, error) {
	characters := make([]rune, len(o))
	for i := range len(o) {
		characters[i] = rune(o[i])
	}
	return json.Marshal(string(characters))
}

func (o *octets) UnmarshalJSON(data []byte) error {
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
	*o = octets(all)
	return nil
}

func differedFrom(configuration string, c conversation) differed {
	d := differed{Configuration: configuration, As: c.as, ReadOnly: c.readOnly, HTTP2: c.http2,
		Pipelined: c.pipelined, Quick: c.quick}
	for _, r := range c.requests {
		d.Requests = append(d.Requests, differedRequest{octets(r.method), octets(r.path), octets(r.protocol),
			octets(r.header), octets(r.body)})
	}
	return d
}

func (d differed) conversation() conversation {
	c := conversation{from: differedFile, as: d.As, readOnly: d.ReadOnly, http2: d.HTTP2, pipelined: d.Pipelined,
		quick: d.Quick}
	for _, r := range d.Requests {
		c.requests = append(c.requests, request{string(r.Method), string(r.Path), string(r.Protocol),
			string(r.Header), string(r.Body)})
	}
	return c
}

// readDiffered returns the conversations in differedFile that belong to a configuration.
func readDiffered(t testing.TB, configuration string) []conversation {
	t.Helper()
	data, err := os.ReadFile(differedFile)
	expect.NoError(t, err)
	var all []conversation
	for line := range bytes.Lines(data) {
		var d differed
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatalf("%s: %v: %s", differedFile, err, line)
		}
		if d.Configuration == configuration {
			all = append(all, d.conversation())
		}
	}
	return all
}

// keepDiffered returns a function that adds a conversation to differedFile, unless the file contains it.
func keepDiffered(configuration string) func(conversation) {
	return func(c conversation) {
		if err := addDiffered(differedFile, differedFrom(configuration, c)); err != nil {
			fmt.Fprintf(os.Stderr, "the conversation was not added to %s: %v\n", differedFile, err)
		}
	}
}

var differedMu sync.Mutex // held while differedFile is written

func addDiffered(path string, d differed) error {
	differedMu.Lock()
	defer differedMu.Unlock()
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(bytes.Split(data, []byte("\n")), func(old []byte) bool { return bytes.Equal(old, line) }) {
		return nil
	}
	return os.WriteFile(path, append(append(data, line...), '\n'), 0o644)
}

// TestDifferedIsKept writes a conversation twice, and reads it again.
func TestDifferedIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "differed.jsonl")
	expect.NoError(t, os.WriteFile(path, nil, 0o644))
	want := differedFrom("defaults", conversation{as: "viewer", readOnly: true, pipelined: true, requests: []request{
		{method: "G\x00T", path: "/l\xffgs/é\n", protocol: "HTTP/1.0", header: "A: \"b\"\r\n", body: "\x80"},
		{method: "GET", path: "/pods"}}})
	for range 2 {
		expect.NoError(t, addDiffered(path, want))
	}
	var got differed
	if err := json.Unmarshal([]byte(expect.File(t, path)), &got); err != nil { // a second line would be an error
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read another conversation (-want +got):\n%s", diff)
	}
}
