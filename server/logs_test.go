package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/scenario"
)

// fourLines is a log in the format of a container runtime. The third of its four lines is from stderr.
const fourLines = `2026-01-01T00:00:01.000000000Z stdout F line 1
2026-01-01T00:00:02.000000000Z stdout F line 2
2026-01-01T00:00:03.000000000Z stderr F line 3
2026-01-01T00:00:04.000000000Z stdout F line 4
`

// talkers is the pod default/nginx. Its container "nginx" has logged four lines, "again" has been restarted, "waits"
// has not started, and "ticks" writes a line every few milliseconds.
func talkers() []scenario.Pod {
	running := func(name string) v1.ContainerStatus {
		return v1.ContainerStatus{Name: name, ContainerID: "containerd://" + name,
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}}}
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"},
		Spec: v1.PodSpec{
			Containers:     []v1.Container{{Name: "nginx"}, {Name: "again"}, {Name: "waits"}, {Name: "ticks"}},
			InitContainers: []v1.Container{{Name: "first"}},
		},
	}
	pod.Status.ContainerStatuses = []v1.ContainerStatus{running("nginx"), running("again"),
		{Name: "waits", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		running("ticks")}
	pod.Status.ContainerStatuses[1].LastTerminationState.Terminated =
		&v1.ContainerStateTerminated{ContainerID: "containerd://before"}
	return []scenario.Pod{{Pod: pod, Containers: map[string]scenario.Container{
		"nginx": {Log: scenario.Log{Text: fourLines}},
		"again": {Log: scenario.Log{Text: "now\n", Previous: &scenario.Log{Text: "before\n"}}},
		"ticks": {Log: scenario.Log{Interval: metav1.Duration{Duration: 5 * time.Millisecond}}},
		"first": {Log: scenario.Log{Text: "ready\n"}},
	}}}
}

// logExchange is a request for the log of a container, with the response that a kubelet sends.
type logExchange struct {
	container, query string
	status           int
	body             string
}

func runLogs(t *testing.T, yaml string, exchanges []logExchange) {
	f := newFixture(t, fixtureOptions{yaml: yaml, pods: talkers()})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, e := range exchanges {
		t.Run(e.container+"?"+e.query, func(t *testing.T) {
			path := "/containerLogs/default/nginx/" + e.container + "?" + e.query
			seen := f.seen()
			got, body := f.ask(t, client, http.MethodGet, path)
			logged := ""
			if e.status != 200 {
				logged = e.body
			}
			if d := f.decision(t, seen+1); d.Status != e.status || d.Err != logged {
				t.Errorf("the Decision has %d %q, want %d %q", d.Status, d.Err, e.status, logged)
			}
			if got.StatusCode != e.status || body != e.body {
				t.Errorf("%d %q, want %d %q", got.StatusCode, body, e.status, e.body)
			}
			contentType, typed := got.Header["Content-Type"]
			if began := slices.Equal(got.TransferEncoding, []string{"chunked"}); began == typed {
				t.Errorf("Content-Type %q with Transfer-Encoding %q: a log has no type, and an error that comes "+
					"before it has one", contentType, got.TransferEncoding)
			}
		})
	}
}

func TestLogOptions(t *testing.T) {
	const (
		all         = "line 1\nline 2\nline 3\nline 4\n"
		undecodable = `{"message": "Unable to decode query."}`
		invalid     = `{"message": "Invalid request."}`
	)
	timed := strings.NewReplacer("stdout F ", "", "stderr F ", "").Replace(fourLines)
	gated := func(stream string) string {
		return `unable to return the given log stream: "` + stream +
			`". Please enable PodLogsQuerySplitStreams feature gate in kubelet`
	}
	runLogs(t, "", []logExchange{
		{"nginx", "", 200, all},
		{"nginx", "unknown=1&TailLines=1&container=other&kind=x&insecureSkipTLSVerifyBackend=x", 200, all},
		{"nginx", "a=%zz&tailLines=1", 200, "line 4\n"},
		{"nginx", "tailLines=1;limitBytes=2", 200, all},

		{"nginx", "tailLines=2", 200, "line 3\nline 4\n"},
		{"nginx", "tailLines=0", 200, ""},
		{"nginx", "tailLines=9", 200, all},
		{"nginx", "tailLines=2&tailLines=x", 200, "line 3\nline 4\n"},
		{"nginx", "tailLines=-1", 422, invalid},
		{"nginx", "tailLines=", 400, undecodable},
		{"nginx", "tailLines=x", 400, undecodable},
		{"nginx", "tailLines=+2", 400, undecodable},
		{"nginx", "tailLines=9223372036854775808", 400, undecodable},

		{"nginx", "tail=1", 200, "line 4\n"},
		{"nginx", "tail=1&tailLines=x", 200, "line 4\n"},
		{"nginx", "tail=all", 200, all},
		{"nginx", "tail=all&tailLines=1", 200, all},
		{"nginx", "tail=&tailLines=1", 200, "line 4\n"},
		{"nginx", "tail=ALL", 400, undecodable},
		{"nginx", "tail=-2", 422, invalid},

		{"nginx", "limitBytes=5", 200, "line "},
		{"nginx", "limitBytes=1000000", 200, all},
		{"nginx", "limitBytes=0", 422, invalid},
		{"nginx", "limitBytes=-5", 422, invalid},
		{"nginx", "limitBytes=1e3", 400, undecodable},

		{"nginx", "sinceSeconds=1", 200, ""},
		{"nginx", "sinceSeconds=9223372036", 200, all},
		{"nginx", "sinceSeconds=9223372037", 200, ""}, // overflows, so it begins in the future
		{"nginx", "sinceSeconds=0", 422, invalid},
		{"nginx", "sinceSeconds=-1", 422, invalid},
		{"nginx", "sinceSeconds=", 400, undecodable},
		{"nginx", "sinceTime=2026-01-01T00:00:03Z", 200, "line 3\nline 4\n"},
		{"nginx", "sinceTime=2026-01-01T01:00:03%2B01:00", 200, "line 3\nline 4\n"},
		{"nginx", "sinceTime=2026-01-01T00:00:03.5Z", 200, "line 4\n"},
		{"nginx", "sinceTime=", 200, all},
		{"nginx", "sinceTime=null", 200, all},
		{"nginx", "sinceTime=yesterday", 400, undecodable},
		{"nginx", "sinceTime=2026-01-01T00:00:03Z&sinceSeconds=5", 422, invalid},
		{"nginx", "sinceTime=&sinceSeconds=5", 422, invalid},

		{"nginx", "timestamps=true", 200, timed},
		{"nginx", "timestamps", 200, timed},
		{"nginx", "timestamps=no", 200, timed},
		{"nginx", "timestamps=false", 200, all},
		{"nginx", "timestamps=FALSE", 200, all},
		{"nginx", "timestamps=0", 200, all},
		{"nginx", "timestamps=false&timestamps=true", 200, all},

		{"again", "", 200, "now\n"},
		{"again", "previous=true", 200, "before\n"},
		{"again", "previous=true&follow=true", 200, "before\n"},
		{"nginx", "previous=true", 400, `previous terminated container "nginx" in pod "nginx" not found`},
		{"waits", "", 400, `container "waits" in pod "nginx" is waiting to start: ContainerCreating`},
		{"first", "", 200, "ready\n"},

		{"nginx", "stream=All", 200, all},
		{"nginx", "stream=All&tailLines=1", 200, "line 4\n"},
		{"nginx", "stream=Stdout", 400, gated("Stdout")},
		{"nginx", "stream=Stderr", 400, gated("Stderr")},
		{"nginx", "stream=Stdout&tailLines=1", 422, invalid},
		{"nginx", "stream=", 422, invalid},
		{"nginx", "stream=all", 422, invalid},
		{"nginx", "stream=nope", 422, invalid},

		// A kubelet first checks the query, then whether the pod and the container exist, and then the feature gate
		// PodLogsQuerySplitStreams.
		{"nope", "tailLines=x", 400, undecodable},
		{"nope", "stream=nope", 422, invalid},
		{"nope", "stream=Stderr", 404, `container "nope" not found in pod "nginx"`},
	})
}

func TestLogStreams(t *testing.T) {
	runLogs(t, "featureGates: {PodLogsQuerySplitStreams: true}\n", []logExchange{
		{"nginx", "", 200, "line 1\nline 2\nline 3\nline 4\n"},
		{"nginx", "stream=All", 200, "line 1\nline 2\nline 3\nline 4\n"},
		{"nginx", "stream=Stdout", 200, "line 1\nline 2\nline 4\n"},
		{"nginx", "stream=Stderr", 200, "line 3\n"},
		{"nginx", "stream=Stderr&timestamps=1", 200, "2026-01-01T00:00:03.000000000Z line 3\n"},
		{"nginx", "stream=Stderr&limitBytes=3", 200, "lin"},
		{"nginx", "tailLines=1", 200, "line 4\n"},
		{"nginx", "stream=Stderr&tailLines=1", 422, `{"message": "Invalid request."}`},
		{"nginx", "stream=nope", 422, `{"message": "Invalid request."}`},
	})
}

// TestLogHead checks the head of a log response on the wire, because net/http's client hides a part of it.
func TestLogHead(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: talkers()})
	got := f.raw(t, f.certificate(t, "kubelet-client"),
		"GET /containerLogs/default/nginx/nginx?tailLines=1 HTTP/1.1\r\nHost: node-1\r\nConnection: close\r\n\r\n")
	got = date.ReplaceAllString(got, "Date: …")
	if want := "HTTP/1.1 200 OK\r\nDate: …\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nline " +
		"4\n\r\n0\r\n\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// follow starts to follow the log of the container "ticks", and reads three lines.
func follow(ctx context.Context, t *testing.T, f *fixture, client *http.Client) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		f.url+"/containerLogs/default/nginx/ticks?follow=true&tailLines=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewReader(response.Body)
	for range 3 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("a followed log ended: %v", err)
		}
	}
	return response, lines
}

func isFollow(d *authchain.Decision) bool { return strings.HasSuffix(d.Path, "/ticks") }

func TestFollowEndsWithTheClient(t *testing.T) {
	for _, test := range []struct{ proto, authentication string }{
		{"HTTP/1.1", ""},
		{"HTTP/2.0", noClientCA},
	} {
		t.Run(test.proto, func(t *testing.T) {
			f := newFixture(t, fixtureOptions{pods: talkers(), authentication: test.authentication})
			client := f.withToken(t, "the-token-of-kubelet-client")
			get(t, client, f.url+"/healthz") // opens the connections
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if response, _ := follow(ctx, t, f, client); response.Proto != test.proto {
				t.Errorf("the protocol is %s", response.Proto)
			}
			cancel()
			if d := f.find(t, "of the followed log", isFollow); d.Status != 200 {
				t.Errorf("status %d", d.Status)
			}
			awaitNoFollower(t)
		})
	}
}

// awaitNoFollower waits until no goroutine serves or reads a followed log. It examines stacks rather than comparing
// lists of goroutines, because the server may start goroutines that watch files at any time.
func awaitNoFollower(t testing.TB) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "getContainerLogs") && !strings.Contains(all, "fauxlet/internal/podlog.") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("a follower is left after 20 s:\n%s", all)
		case <-tick.C:
		}
	}
}

func TestServeLeavesNothingBehind(t *testing.T) {
	before := append(slices.Clone(goleakOptions), goleak.IgnoreCurrent())
	f := newFixture(t, fixtureOptions{flags: []string{"--read-only-port=" + strconv.Itoa(freePort(t))}})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, url := range []string{f.url + "/containerLogs/default/nginx/nginx", f.url + "/nothing",
		f.readOnly + "/pods"} {
		get(t, client, url)
	}
	client.CloseIdleConnections()
	if err := f.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	f.stopReviews()
	if err := goleak.Find(before...); err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithTheServer(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: talkers()})
	_, lines := follow(t.Context(), t, f, f.client(t, f.certificate(t, "kubelet-client")))
	stopped := make(chan error, 1)
	go func() { stopped <- f.stop() }()
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Errorf("the body ended with the error %v", err)
	}
	if len(rest) > 0 && !strings.HasSuffix(string(rest), "\n") {
		t.Errorf("the log ends with an incomplete line: %q", rest[max(0, len(rest)-100):])
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if d := f.find(t, "of the followed log", isFollow); d.Status != 200 || d.Err != "" {
		t.Errorf("status %d, error %q", d.Status, d.Err)
	}
	if _, err := f.client(t, nil).Get(f.url + "/healthz"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a request to the stopped server: %v", err)
	}
}
