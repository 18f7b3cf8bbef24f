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
	"fauxlet/internal/recordings"
)

// differedFile has conversations to which fauxlet and a kubelet once gave different answers, one as JSON in each line.
// TestCompare adds the conversations that it finds, after it has reduced them. TestSameAnswers sends them again.
const differedFile = "testdata/differed.jsonl"

// differed is a conversation in differedFile.
type differed struct {
	Configuration string `json:"configuration"`
	recordings.Conversation
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
			d.From = differedFile
			all = append(all, d.Conversation)
		}
	}
	return all
}

// keepDiffered returns a function that adds a conversation to differedFile, unless the file contains it.
func keepDiffered(configuration string) func(conversation) {
	return func(c conversation) {
		if err := addDiffered(differedFile, differed{configuration, c}); err != nil {
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
	want := differed{"defaults", conversation{As: "viewer", ReadOnly: true, Pipelined: true, Requests: []request{
		{Method: "G\x00T", Path: "/l\xffgs/é\n", Protocol: "HTTP/1.0", Header: "A: \"b\"\r\n", Body: "\x80"},
		{Method: "GET", Path: "/pods"}}}}
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
