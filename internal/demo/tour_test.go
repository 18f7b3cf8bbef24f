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
	// A user's edits of the demo's files must not change the results of the lessons.
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
	in, _ := io.Pipe() // the tour never receives a line from it
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
		{name: "as expected", step: step{status: http.StatusForbidden}, got: forbidden,
			want: "Received    403 Forbidden\n"},
		{
			name: "other status", step: step{status: http.StatusOK}, got: forbidden,
			want: "403 Forbidden (not as expected: 200 OK, reason: )\n",
		},
		{
			name: "other reason", step: step{status: http.StatusForbidden, reason: "viewer"}, got: forbidden,
			want: "403 Forbidden (not as expected: 403 Forbidden, reason: viewer)\n",
		},
		{
			name: "no response", step: step{unreachable: true, reason: "connection refused"}, got: refused,
			want: "Received    no response: connection refused\n",
		},
	} {
		var out bytes.Buffer
		tour := &tour{printer: printer{Writer: &out}}
		ok, err := tour.result(test.step, test.got)
		wantOK := !strings.Contains(test.want, "not as expected")
		if err != nil || ok != wantOK || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: %v, %v\n%s, want %v and\n%s", test.name, ok, err, out.String(), wantOK, test.want)
		}
	}
}

func TestScenesBeginWithConfiguration(t *testing.T) {
	for _, scene := range scenes {
		if scene.steps[0].configured == "" {
			t.Errorf("%s: its first step configures nothing, so it has no stand-in kubelet", scene.title)
		}
		for i, step := range scene.steps {
			if step.send.about == "" || step.send.path == "" || (step.rbac == "") != (step.bound == "") {
				t.Errorf("%s, step %d: %+v lacks a required field", scene.title, i+1, step)
			}
		}
	}
}

func TestPaceWaitsForEnter(t *testing.T) {
	p := newPace(strings.NewReader("\n q \n"))
	if err := p.wait(t.Context(), io.Discard); err != nil {
		t.Errorf("after Enter: %v", err)
	}
	if err := p.wait(t.Context(), io.Discard); !errors.Is(err, errQuit) {
		t.Errorf("after q: %v, want %v", err, errQuit)
	}
	if err := p.wait(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("at the end of the input: %v", err)
	}
	if err := newPace(nil).wait(t.Context(), io.Discard); err != nil {
		t.Errorf("without input: %v", err)
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
