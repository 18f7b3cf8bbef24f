package pods_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// logStore returns a Store with one pod, default/p, which has one container, c.
func logStore(t testing.TB, log scenario.Log) *pods.Store {
	t.Helper()
	return newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
		Containers: map[string]scenario.Container{"c": {Log: log}}})
}

func read(t testing.TB, store *pods.Store, options v1.PodLogOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := store.Logs(context.Background(), "default", "p", "c", &options, &b, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestText reads three lines, one second apart, with each option.
func TestText(t *testing.T) {
	store := logStore(t, scenario.Log{Text: "one\ntwo\nthree", Start: &metav1.Time{Time: began}})
	after := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: began.Add(d)} }
	for _, c := range []struct {
		name    string
		options v1.PodLogOptions
		want    string
	}{
		{"all", v1.PodLogOptions{}, "one\ntwo\nthree\n"},
		{"tail-2", v1.PodLogOptions{TailLines: ptr[int64](2)}, "two\nthree\n"},
		{"tail-0", v1.PodLogOptions{TailLines: ptr[int64](0)}, ""},
		{"tail-more", v1.PodLogOptions{TailLines: ptr[int64](9)}, "one\ntwo\nthree\n"},
		{"since-a-line", v1.PodLogOptions{SinceTime: after(time.Second)}, "two\nthree\n"},
		{"since-between", v1.PodLogOptions{SinceTime: after(time.Second + 1)}, "three\n"},
		{"since-later", v1.PodLogOptions{SinceTime: after(time.Hour)}, ""},
		{"since-long-ago", v1.PodLogOptions{SinceSeconds: ptr[int64](1 << 40)}, "one\ntwo\nthree\n"},
		{"since-just-now", v1.PodLogOptions{SinceSeconds: ptr[int64](1)}, ""},
		{"tail-then-since", v1.PodLogOptions{TailLines: ptr[int64](2), SinceTime: after(2 * time.Second)}, "three\n"},
		{"limit", v1.PodLogOptions{LimitBytes: ptr[int64](5)}, "one\nt"},
		{"limit-at-a-line", v1.PodLogOptions{LimitBytes: ptr[int64](4)}, "one\n"},
		{"limit-more", v1.PodLogOptions{LimitBytes: ptr[int64](100)}, "one\ntwo\nthree\n"},
		{"timestamps", v1.PodLogOptions{Timestamps: true, TailLines: ptr[int64](1)},
			"2026-01-02T03:04:07.000000000Z three\n"},
		{"timestamps-and-limit", v1.PodLogOptions{Timestamps: true, LimitBytes: ptr[int64](31)},
			"2026-01-02T03:04:05.000000000Z "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(t, store, c.options); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestCRI checks that a text in the CRI's log format determines the times, streams and partial lines of the log.
func TestCRI(t *testing.T) {
	store := logStore(t, scenario.Log{Text: strings.Join([]string{
		"2026-01-02T03:04:05.5Z stdout F plain",
		"2026-01-02T03:04:06+02:00 stderr F wrong",
		"2026-01-02T03:04:07Z stdout P in ",
		"2026-01-02T03:04:08Z stdout F parts",
		"2026-01-02T03:04:09Z stdout F ",
	}, "\n")})
	if got, want := read(t, store, v1.PodLogOptions{}), "plain\nwrong\nin parts\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := "2026-01-02T03:04:05.500000000Z plain\n2026-01-02T03:04:06.000000000+02:00 " +
		"wrong\n2026-01-02T03:04:07.000000000Z in parts\n2026-01-02T03:04:09.000000000Z \n"
	if got := read(t, store, v1.PodLogOptions{Timestamps: true}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var stdout, stderr bytes.Buffer
	if err := store.Logs(context.Background(), "default", "p", "c", &v1.PodLogOptions{}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "plain\nin parts\n\n" || stderr.String() != "wrong\n" {
		t.Errorf("got stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// TestDeterministic checks that two Stores generate the same lines, and that a different seed or name gives
// different lines.
func TestDeterministic(t *testing.T) {
	log := scenario.Log{Lines: 50, Stderr: 0.3}
	first := read(t, logStore(t, log), v1.PodLogOptions{})
	if second := read(t, logStore(t, log), v1.PodLogOptions{}); second != first {
		t.Errorf("two Stores generate different lines:\n%q\nand\n%q", first, second)
	}
	log.Seed = 1
	if other := read(t, logStore(t, log), v1.PodLogOptions{}); other == first {
		t.Error("a different seed generates the same lines")
	}
}

// TestEndless checks that the length of a log without an end depends on its age, and that its last lines can be read
// without reading the lines before them.
func TestEndless(t *testing.T) {
	store := logStore(t, scenario.Log{Start: &metav1.Time{Time: began},
		Interval: metav1.Duration{Duration: time.Millisecond}})
	lines := strings.Split(strings.TrimSpace(read(t, store, v1.PodLogOptions{TailLines: ptr[int64](3)})), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines", len(lines))
	}
	var number int64
	if _, err := fmt.Sscan(lines[2], &number); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(began).Milliseconds(); number < age-60_000 || number > age {
		t.Errorf("the last line has number %d, but the log is %d ms old", number, age)
	}
}

// TestPrevious checks that the previous log ends before the current log begins.
func TestPrevious(t *testing.T) {
	store := logStore(t, scenario.Log{Text: "now", Start: &metav1.Time{Time: began},
		Previous: &scenario.Log{Text: "then\nand then"}})
	if got := read(t, store,
		v1.PodLogOptions{Previous: true,
			Timestamps: true}); got != "2026-01-02T03:04:03.000000000Z then\n2026-01-02T03:04:04.000000000Z and then\n" {
		t.Errorf("got %q", got)
	}
	made := logStore(t, scenario.Log{Previous: &scenario.Log{}})
	if lines := strings.Count(read(t, made, v1.PodLogOptions{Previous: true}), "\n"); lines != 100 {
		t.Errorf("the previous log has %d lines, want 100", lines)
	}
	// The log of a container that does not run also has 100 lines, even if its description has no end.
	ended := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
		Containers: map[string]scenario.Container{"c": {State: "CrashLoopBackOff"}}})
	if lines := strings.Count(read(t, ended, v1.PodLogOptions{Follow: true}), "\n"); lines != 100 {
		t.Errorf("log of a crashed container: %d lines, want 100", lines)
	}
	// A request that follows the log of a container that has ended returns at once.
	if got := read(t, store, v1.PodLogOptions{Previous: true, Follow: true}); got != "then\nand then\n" {
		t.Errorf("got %q", got)
	}
}

// TestNoLog checks that Logs returns the kubelet's errors for a container without a log.
func TestNoLog(t *testing.T) {
	with := func(status v1.ContainerStatus) scenario.Pod {
		pod := newPod("default", "p", "c")
		pod.Status.Phase = v1.PodPending
		status.Name = "c"
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status}
		return scenario.Pod{Pod: pod}
	}
	waiting := func(reason string) v1.ContainerStatus {
		return v1.ContainerStatus{State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}}
	}
	ended := func(id string) *v1.ContainerStateTerminated { return &v1.ContainerStateTerminated{ContainerID: id} }
	for _, c := range []struct {
		name     string
		spec     scenario.Pod
		previous bool
		err      string
	}{
		{"running-without-previous", scenario.Pod{Pod: newPod("default", "p", "c")}, true,
			`previous terminated container "c" in pod "p" not found`},
		{"creating", with(waiting("ContainerCreating")), false,
			`container "c" in pod "p" is waiting to start: ContainerCreating`},
		{"image-pull", with(waiting("ErrImagePull")), false,
			`container "c" in pod "p" is waiting to start: image can't be pulled`},
		{"image-pull-back-off", with(waiting("ImagePullBackOff")), false,
			`container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		{"no-state", with(v1.ContainerStatus{}), false, `container "c" in pod "p" is waiting to start - no logs yet`},
		{"terminated-without-id", with(v1.ContainerStatus{State: v1.ContainerState{Terminated: ended("")}}), false,
			`container "c" in pod "p" is terminated`},
		{"terminated", with(v1.ContainerStatus{State: v1.ContainerState{Terminated: ended("x://1")}}), false, ""},
		{"crash-loop", with(v1.ContainerStatus{State: waiting("CrashLoopBackOff").State,
			LastTerminationState: v1.ContainerState{Terminated: ended("x://1")}}), false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A request that follows the log of a container that does not run must return by itself.
			err := newStore(t, c.spec).Logs(context.Background(), "default", "p", "c",
				&v1.PodLogOptions{Previous: c.previous, Follow: c.name == "terminated"}, io.Discard, io.Discard)
			if got := fmt.Sprint(err); got != c.err && !(c.err == "" && err == nil) {
				t.Errorf("error %v, want %s", err, c.err)
			}
		})
	}
	pending := newPod("default", "p", "c")
	pending.Status.Phase = v1.PodPending
	if err := newStore(t, scenario.Pod{Pod: pending}).Logs(context.Background(), "default", "p", "c",
		&v1.PodLogOptions{}, io.Discard, nil); err == nil ||
		err.Error() != `container "c" in pod "p" is not available` {
		t.Errorf("Logs returned the error %v", err)
	}
}

// TestWriterFails checks that Logs returns the error of a writer that fails.
func TestWriterFails(t *testing.T) {
	gone := errors.New("gone")
	err := logStore(t, scenario.Log{Lines: 1_000_000}).Logs(context.Background(), "default", "p", "c",
		&v1.PodLogOptions{}, failing{gone}, nil)
	if !errors.Is(err, gone) {
		t.Errorf("Logs returned the error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return 0, f.err
}

// FuzzLogs compares the output for random options, which is computed without reading all lines, with the output of a
// simple implementation that reads every line.
func FuzzLogs(f *testing.F) {
	f.Add(int64(20), int64(5), int64(3), int64(100), true, uint8(3), uint8(77))
	f.Add(int64(3000), int64(-1), int64(-1), int64(-1), false, uint8(0), uint8(0))
	f.Add(int64(11000), int64(10500), int64(400), int64(140000), false, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, lines, tail, since, limit int64, timestamps bool, stderr, stream uint8) {
		lines = lines%12000 + 1
		if lines < 1 {
			lines += 12000
		}
		store := logStore(t, scenario.Log{Lines: lines, Start: &metav1.Time{Time: began},
			Stderr: float64(stderr) / 255})
		options := v1.PodLogOptions{Timestamps: timestamps}

		// Every line by itself, with its time and stream.
		var all []string
		var isErr []bool
		var outs, errs bytes.Buffer
		if err := store.Logs(context.Background(), "default", "p", "c", &v1.PodLogOptions{Timestamps: true}, &outs,
			&errs); err != nil {
			t.Fatal(err)
		}
		next := map[bool][]string{false: strings.SplitAfter(outs.String(), "\n"),
			true: strings.SplitAfter(errs.String(), "\n")}
		for i := range lines {
			stamp := began.Add(time.Duration(i) * time.Second).Format("2006-01-02T15:04:05.000000000Z ")
			fromErr := strings.HasPrefix(next[true][0], stamp)
			all, isErr = append(all, next[fromErr][0]), append(isErr, fromErr)
			next[fromErr] = next[fromErr][1:]
		}

		first := int64(0)
		if tail >= 0 {
			options.TailLines = &tail
			first = max(0, lines-tail)
		}
		var from time.Time
		if since >= 0 && since < 1<<32 {
			from = began.Add(time.Duration(since) * time.Second / 2)
			options.SinceTime = &metav1.Time{Time: from}
		}
		var want strings.Builder
		var got bytes.Buffer
		var stdout, stderrOf io.Writer = &got, &got
		switch stream % 3 {
		case 1:
			stderrOf = nil
		case 2:
			stdout = nil
		}
		for i := first; i < lines; i++ {
			if began.Add(time.Duration(i)*time.Second).Before(from) || isErr[i] && stderrOf == nil || !isErr[i] &&
				stdout == nil {
				continue
			}
			line := all[i]
			if !timestamps {
				_, line, _ = strings.Cut(line, " ")
			}
			want.WriteString(line)
		}
		expected := want.String()
		if limit > 0 {
			options.LimitBytes = &limit
			if int64(len(expected)) > limit {
				expected = expected[:limit]
			}
		}
		if err := store.Logs(context.Background(), "default", "p", "c", &options, stdout, stderrOf); err != nil {
			t.Fatal(err)
		}
		if got.String() != expected {
			t.Errorf("got %d bytes, want %d", got.Len(), len(expected))
		}
	})
}

func BenchmarkLogs(b *testing.B) {
	store := logStore(b, scenario.Log{Lines: 1_000_000})
	for _, c := range []struct {
		name    string
		options v1.PodLogOptions
	}{
		{"plain", v1.PodLogOptions{}},
		{"timestamps", v1.PodLogOptions{Timestamps: true}},
		{"tail-10", v1.PodLogOptions{TailLines: ptr[int64](10)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(read(b, store, c.options))))
			for b.Loop() {
				if err := store.Logs(context.Background(), "default", "p", "c", &c.options, io.Discard,
					io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
