package same

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-client/pkg/logs"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// TestSameLines compares package podlog with the kubelet's own log reader. Both read the same lines. The kubelet's
// reader reads them from a file in the format of container runtimes. They must return the same bytes for every
// combination of options.
func TestSameLines(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	parts := "2026-01-02T03:04:05.5Z stdout F plain\n2026-01-02T03:04:06Z stderr F wrong\n" +
		"2026-01-02T03:04:07Z stdout P in \n2026-01-02T03:04:08Z stdout F parts\n2026-01-02T03:04:09Z stdout F \n" +
		"2026-01-02T03:04:04Z stdout F earlier than those before it\n"
	compared := 0
	for _, source := range []struct {
		name string
		log  scenario.Log
		// file is the content of the log file; if it is empty, the test generates a log.
		file string
	}{
		{name: "one-stream", log: scenario.Log{Lines: 3000, Start: &metav1.Time{Time: start}}},
		{name: "two-streams", log: scenario.Log{Lines: 300, Start: &metav1.Time{Time: start}, Stderr: 0.4, Seed: 7}},
		{name: "one-line", log: scenario.Log{Lines: 1, Start: &metav1.Time{Time: start}}},
		{name: "text", log: scenario.Log{Text: "one\n\nthree\nfour", Start: &metav1.Time{Time: start}}},
		{name: "parts", log: scenario.Log{Text: parts}, file: parts},
	} {
		t.Run(source.name, func(t *testing.T) {
			store, err := pods.NewStore(scenario.Pod{
				Pod: &v1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: "p"},
					Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}}},
				},
				Containers: map[string]scenario.Container{"c": {Log: source.log}},
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "0.log")
			content := []byte(source.file)
			if source.file == "" {
				content = runtimeFile(t, store)
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, tail := range []int64{-1, 0, 1, 2, 5, 1000, 1 << 40} {
				for _, since := range []time.Duration{-1, 0, 1, 2 * time.Second, 2*time.Second + 1, 200 * time.Second,
					1000 * time.Hour} {
					for _, limit := range []int64{-1, 1, 10, 45, 1000, 100_000, 1 << 40} {
						for _, timestamps := range []bool{false, true} {
							for _, stream := range []string{"both", "stdout", "stderr"} {
								compared++
								theirs := &logs.LogOptions{Timestamp: timestamps}
								ours := &v1.PodLogOptions{Timestamps: timestamps}
								if tail >= 0 {
									theirs.TailLines, ours.TailLines = &tail, &tail
								}
								if since >= 0 {
									theirs.Since = start.Add(since)
									ours.SinceTime = &metav1.Time{Time: start.Add(since)}
								}
								if limit > 0 {
									theirs.LimitBytes, ours.LimitBytes = &limit, &limit
								}
								var want, got bytes.Buffer
								if err := logs.ReadLogs(context.Background(), file, "", theirs, nil,
									wanted(&want, stream, "stdout"),
									wanted(&want, stream, "stderr")); err != nil {
									t.Fatal(err)
								}
								if err := store.Logs(context.Background(), "default", "p", "c", ours,
									wanted(&got, stream, "stdout"),
									wanted(&got, stream, "stderr")); err != nil {
									t.Fatal(err)
								}
								if !bytes.Equal(got.Bytes(), want.Bytes()) {
									t.Fatalf("tail %d, since %v, limit %d, timestamps %v, %s: %d bytes, want "+
										"%d:\n%.300q\nwant\n%.300q",
										tail, since, limit, timestamps, stream, got.Len(), want.Len(), got.String(),
										want.String())
								}
							}
						}
					}
				}
			}
		})
	}
	t.Logf("%d combinations gave the same bytes", compared)
}

// The function "wanted" returns the writer for a stream, or nil if the log options select only the other stream.
func wanted(b *bytes.Buffer, stream, this string) io.Writer {
	if stream != "both" && stream != this {
		return nil
	}
	return b
}

// runtimeFile returns the generated log in the format of container runtimes.
func runtimeFile(t *testing.T, store *pods.Store) []byte {
	t.Helper()
	var file bytes.Buffer
	w := func(stream string) io.Writer { return criWriter{&file, stream} }
	if err := store.Logs(context.Background(), "default", "p", "c", &v1.PodLogOptions{Timestamps: true}, w("stdout"),
		w("stderr")); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// criWriter converts lines to the CRI format. Between the time and the text of each line it inserts the stream and the
// tag F (full line).
type criWriter struct {
	file   *bytes.Buffer
	stream string
}

func (w criWriter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		at, text, _ := bytes.Cut(line, []byte(" "))
		fmt.Fprintf(w.file, "%s %s F %s", at, w.stream, text)
	}
	return len(p), nil
}
