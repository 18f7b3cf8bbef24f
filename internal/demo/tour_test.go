package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"fauxlet/authchain"
)

func TestTourHasExpectedResults(t *testing.T) {
	folder := openFolder(t)
	// A user may have edited the demo's files. The results of the tour must still be as its scenes expect.
	writeFile(t, folder.path("rbac.yaml"), "# no role\n")
	var out bytes.Buffer
	if err := Tour(t.Context(), TourOptions{Folder: folder, Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	want := "End of the tour: 11 scenes, 27 requests, all with the expected result."
	if !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}

func TestTourStopsWhenContextEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	in, _ := io.Pipe() // a reader that never presses Enter
	if err := Tour(ctx, TourOptions{Folder: openFolder(t), In: in, Out: io.Discard}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestResultReportsDifference(t *testing.T) {
	forbidden := &response{status: http.StatusForbidden, decision: &authchain.Decision{Status: http.StatusForbidden}}
	refused := &response{err: errors.New("connection refused")}
	for _, test := range []struct {
		name string
		step step
		got  *response
		want string
	}{
		{name: "as expected", step: step{Status: http.StatusForbidden}, got: forbidden,
			want: "Received    403 Forbidden\n"},
		{
			name: "other status", step: step{Status: http.StatusOK}, got: forbidden,
			want: "403 Forbidden (not as expected: 200 OK, reason: )\n",
		},
		{
			name: "other reason", step: step{Status: http.StatusForbidden, Reason: "viewer"}, got: forbidden,
			want: "403 Forbidden (not as expected: 403 Forbidden, reason: viewer)\n",
		},
		{
			name: "no response", step: step{Unreachable: true, Reason: "connection refused"}, got: refused,
			want: "Received    no response: connection refused\n",
		},
	} {
		var out bytes.Buffer
		tour := &tour{printer: printer{Writer: &out}}
		ok, err := tour.result(test.step, test.got)
		wantOK := !strings.Contains(test.want, "not as expected")
		if err != nil || ok != wantOK || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: as expected: %v, error %v\n%s, want %v and\n%s",
				test.name, ok, err, out.String(), wantOK, test.want)
		}
	}
}

func TestScenesBeginWithConfiguration(t *testing.T) {
	for _, scene := range script().Scenes {
		if scene.Steps[0].Configured == "" {
			t.Errorf("scene %q: the first step has no configuration, so it has no stand-in kubelet", scene.Title)
		}
		for i, step := range scene.Steps {
			if step.Send.About == "" || (step.RBAC == "") != (step.Bound == "") {
				t.Errorf("scene %q, step %d: a required field is missing: %+v", scene.Title, i+1, step)
			}
		}
	}
}

func TestWaitForEnter(t *testing.T) {
	p, lines := printer{Writer: io.Discard}, readLines(strings.NewReader("\n q \n"))
	for i, wantQuit := range []bool{false, true} {
		if quit, err := p.wait(t.Context(), lines); quit != wantQuit || err != nil {
			t.Errorf("line %d: quit %t, error %v", i+1, quit, err)
		}
	}
	if _, err := p.wait(t.Context(), lines); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("at the end of the input: %v", err)
	}
	if quit, err := p.wait(t.Context(), readLines(nil)); quit || err != nil {
		t.Errorf("without input: quit %t, error %v", quit, err)
	}
}

func TestParagraphWrapsText(t *testing.T) {
	var out bytes.Buffer
	printer{Writer: &out}.paragraph("Why", strings.Repeat("0123456789 ", 10)+strings.Repeat("x", 2*lineWidth))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	first, indented := "  Why         0123456789 ", strings.Repeat(" ", 14)+"xxx"
	if len(lines) != 3 || !strings.HasPrefix(lines[0], first) || !strings.HasPrefix(lines[2], indented) {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines[:2] {
		if len(line) > lineWidth {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	}
}
