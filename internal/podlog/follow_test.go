package podlog

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/scenario"
)

// flushed is a writer that passes data on to the client only when it is flushed.
type flushed struct {
	mu         sync.Mutex
	held, seen bytes.Buffer
	flushes    int
}

func (f *flushed) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held.Write(p)
}

func (f *flushed) Flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes++
	f.held.WriteTo(&f.seen)
}

// read returns the data that the client has received, and the number of flushes.
func (f *flushed) read() (seen string, flushes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen.String(), f.flushes
}

// TestFollow checks that each line is sent and flushed when it is written, until the client disconnects.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().Add(-2500 * time.Millisecond)
		log := newLog(t, scenario.Log{Start: &metav1.Time{Time: start}})
		ctx, cancel := context.WithCancel(t.Context())
		w := &flushed{}
		done := make(chan error)
		go func() {
			done <- log.Read(ctx, &v1.PodLogOptions{Follow: true, TailLines: ptr.To[int64](1)}, true, w,
				w)
		}()
		for i, want := range []string{"2 ", "3 ", "4 ", "5 "} {
			synctest.Wait()
			seen, flushes := w.read()
			lines := strings.SplitAfter(seen, "\n")
			if len(lines) != i+2 || !strings.HasPrefix(lines[i], want) || flushes != i+1 {
				t.Fatalf("after %v the client has the lines %q, in %d flushes", time.Since(start), lines, flushes)
			}
			time.Sleep(time.Second)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestFollowEnd checks that a followed log of a running container does not end after its last line, but ends when
// limitBytes is reached.
func TestFollowEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, scenario.Log{Text: "one\ntwo\n",
			Start: &metav1.Time{Time: time.Now().Add(-500 * time.Millisecond)}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		w := &flushed{}
		if err := log.Read(ctx, &v1.PodLogOptions{Follow: true}, true, w, w); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); w.seen.String() != "one\ntwo\n" || waited != time.Hour {
			t.Errorf("got %q after %v, want both lines and an end after an hour", w.seen.String(), waited)
		}

		begin = time.Now()
		w = &flushed{}
		endless := newLog(t, scenario.Log{Start: &metav1.Time{Time: time.Now()},
			Interval: metav1.Duration{Duration: time.Minute}})
		if err := endless.Read(t.Context(), &v1.PodLogOptions{Follow: true, LimitBytes: ptr.To[int64](100)}, true, w,
			w); err != nil {
			t.Fatal(err)
		}
		if n := w.held.Len() + w.seen.Len(); n != 100 || time.Since(begin) > 5*time.Minute {
			t.Errorf("got %d bytes after %v, want 100 bytes within 5 minutes", n, time.Since(begin))
		}
	})
}

// TestFollowEmpty checks that the response begins even if the log never gets a line.
func TestFollowEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		log := newLog(t, scenario.Log{Start: &metav1.Time{Time: time.Now().Add(time.Hour)}})
		w := &flushed{}
		if err := log.Read(ctx, &v1.PodLogOptions{Follow: true}, true, w, w); err != nil ||
			w.flushes != 1 || w.seen.Len() != 0 {
			t.Errorf("error %v, %d flushes, content %q; want no error, one flush and no content", err, w.flushes,
				w.seen.String())
		}
	})
}

// TestFollowFarTimes checks that Read waits for further lines of a followed log even if the time between two lines, or
// since the start, is longer than the longest Duration, which is 292 years. If a computation overflowed, Read would not
// wait.
func TestFollowFarTimes(t *testing.T) {
	at := func(year int) *metav1.Time { return &metav1.Time{Time: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)} }
	shortest := metav1.Duration{Duration: 1}
	century := metav1.Duration{Duration: 100 * 365 * 24 * time.Hour}
	overflow, one := ptr.To[int64](9223372037), ptr.To[int64](1)
	for _, test := range []struct {
		name    string
		log     scenario.Log
		options v1.PodLogOptions
		lines   int
	}{
		{"time after the last line", scenario.Log{}, v1.PodLogOptions{SinceTime: at(9999)}, 0},
		{"seconds that overflow", scenario.Log{}, v1.PodLogOptions{SinceSeconds: overflow}, 0},
		{"seconds that overflow, shortest interval", scenario.Log{Interval: shortest},
			v1.PodLogOptions{SinceSeconds: overflow}, 0},
		{"start long ago", scenario.Log{Start: at(1600)}, v1.PodLogOptions{TailLines: one}, 1},
		{"start long ago, shortest interval", scenario.Log{Start: at(1600), Interval: shortest},
			v1.PodLogOptions{TailLines: one}, 1},
		{"text of centuries", scenario.Log{Text: "1\n2\n3\n4\n5\n", Interval: century, Start: at(1999)},
			v1.PodLogOptions{}, 1},
		{"text of centuries until now", scenario.Log{Text: "1\n2\n3\n4\n5\n", Interval: century},
			v1.PodLogOptions{}, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				w := &flushedOnce{cancel: cancel}
				test.options.Follow = true
				if err := newLog(t, test.log).Read(ctx, &test.options, true, w, w); err != nil {
					t.Fatal(err)
				}
				if lines := strings.Count(w.String(), "\n"); w.flushes != 1 || lines != test.lines {
					t.Errorf("%d flushes and %d lines in an hour, want 1 and %d", w.flushes, lines, test.lines)
				}
			})
		})
	}
}

// flushedOnce is a client that disconnects at the second flush.
type flushedOnce struct {
	bytes.Buffer
	flushes int
	cancel  context.CancelFunc
}

func (f *flushedOnce) Flush() {
	if f.flushes++; f.flushes > 1 {
		f.cancel()
	}
}
