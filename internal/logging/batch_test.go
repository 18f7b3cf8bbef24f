package logging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"k8s.io/klog/v2"
)

// newFileLogger returns a logger that writes to a file, and a function that returns the messages in the file.
func newFileLogger(t *testing.T) (*zap.Logger, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	logger, err := New(file, "json", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		EndBatches()
		klog.ClearLogger()
		file.Close()
	})
	return logger, func() string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var messages []string
		for line := range strings.Lines(string(data)) {
			_, message, _ := strings.Cut(line, `"msg":"`)
			message, _, _ = strings.Cut(message, `"`)
			messages = append(messages, message)
		}
		return strings.Join(messages, " ")
	}
}

// TestBatches checks when the waiting lines are written: at the end of the interval, with an error of the program or of
// a library, and on demand. They are always written in order.
func TestBatches(t *testing.T) {
	for _, test := range []struct {
		name, want string
		event      func(*zap.Logger)
	}{
		{"no event", "", func(*zap.Logger) {}},
		{"the interval passes", "one two", func(*zap.Logger) { time.Sleep(flushInterval) }},
		{"an error", "one two three", func(l *zap.Logger) { l.Error("three") }},
		{"an error of a derived logger", "one two three",
			func(l *zap.Logger) { l.With(zap.Int("a", 1)).Error("three") }},
		{"an error of a library", "one two three", func(*zap.Logger) { klog.ErrorS(nil, "three") }},
		{"a warning", "", func(l *zap.Logger) { l.Warn("three") }},
		{"Sync", "one two", func(l *zap.Logger) { _ = l.Sync() }},
		{"klog.Flush", "one two", func(*zap.Logger) { klog.Flush() }},
		{"the next logger", "one two", func(*zap.Logger) { _, _ = New(os.Stderr, "json", 0) }},
		{"the batches end", "one two three", func(l *zap.Logger) {
			EndBatches()
			EndBatches() // has no further effect
			l.Info("three")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, messages := newFileLogger(t)
				logger.Info("one")
				klog.InfoS("two")
				if got := messages(); got != "" {
					t.Errorf("the file has %q before the event", got)
				}
				test.event(logger)
				synctest.Wait()
				if got := messages(); got != test.want {
					t.Errorf("the file has %q, want %q", got, test.want)
				}
			})
		})
	}
}

// TestBatchesEndWhileLogging checks that no line is lost if the batches end while other goroutines log.
func TestBatchesEndWhileLogging(t *testing.T) {
	const goroutines, lines = 8, 500
	logger, messages := newFileLogger(t)
	done := make(chan struct{})
	for range goroutines {
		go func() {
			for range lines {
				logger.Info("line")
			}
			done <- struct{}{}
		}()
	}
	EndBatches()
	for range goroutines {
		<-done
	}
	if got := strings.Count(messages(), "line"); got != goroutines*lines {
		t.Errorf("%d lines, want %d", got, goroutines*lines)
	}
}

// TestLongBatch checks that many lines are written before the interval has passed.
func TestLongBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, messages := newFileLogger(t)
		for range 2 * batchSize / 50 {
			logger.Info("line")
		}
		if messages() == "" {
			t.Error("no line is written")
		}
	})
}
