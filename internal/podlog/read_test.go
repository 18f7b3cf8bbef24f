package podlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/scenario"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newLog(t testing.TB, description scenario.Log) *Log {
	t.Helper()
	log, err := New(description, "default/p/c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// read returns the lines that the options select, of both streams.
func read(t testing.TB, log *Log, options v1.PodLogOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := log.Read(context.Background(), &options, true, &b, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestText reads three lines, one second apart, with each option.
func TestText(t *testing.T) {
	log := newLog(t, scenario.Log{Text: "one\ntwo\nthree", Start: &metav1.Time{Time: began}})
	after := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: began.Add(d)} }
	for _, c := range []struct {
		name    string
		options v1.PodLogOptions
		want    string
	}{
		{name: "all", options: v1.PodLogOptions{}, want: "one\ntwo\nthree\n"},
		{name: "tail-2", options: v1.PodLogOptions{TailLines: ptr.To[int64](2)}, want: "two\nthree\n"},
		{name: "tail-0", options: v1.PodLogOptions{TailLines: ptr.To[int64](0)}, want: ""},
		{name: "tail-more", options: v1.PodLogOptions{TailLines: ptr.To[int64](9)}, want: "one\ntwo\nthree\n"},
		{name: "since-a-line", options: v1.PodLogOptions{SinceTime: after(time.Second)}, want: "two\nthree\n"},
		{name: "since-between", options: v1.PodLogOptions{SinceTime: after(time.Second + 1)}, want: "three\n"},
		{name: "since-later", options: v1.PodLogOptions{SinceTime: after(time.Hour)}, want: ""},
		{name: "since-long-ago", options: v1.PodLogOptions{SinceSeconds: ptr.To[int64](1 << 32)},
			want: "one\ntwo\nthree\n"},
		{name: "since-just-now", options: v1.PodLogOptions{SinceSeconds: ptr.To[int64](1)}, want: ""},
		{name: "tail-then-since", options: v1.PodLogOptions{TailLines: ptr.To[int64](2),
			SinceTime: after(2 * time.Second)}, want: "three\n"},
		{name: "limit", options: v1.PodLogOptions{LimitBytes: ptr.To[int64](5)}, want: "one\nt"},
		{name: "limit-at-a-line", options: v1.PodLogOptions{LimitBytes: ptr.To[int64](4)}, want: "one\n"},
		{name: "limit-more", options: v1.PodLogOptions{LimitBytes: ptr.To[int64](100)}, want: "one\ntwo\nthree\n"},
		{name: "timestamps", options: v1.PodLogOptions{Timestamps: true, TailLines: ptr.To[int64](1)},
			want: "2026-01-02T03:04:07.000000000Z three\n"},
		{name: "timestamps-and-limit", options: v1.PodLogOptions{Timestamps: true, LimitBytes: ptr.To[int64](31)},
			want: "2026-01-02T03:04:05.000000000Z "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(t, log, c.options); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestFileContent checks that New does not read a file whose content is in the description, and that an empty file is
// an empty log.
func TestFileContent(t *testing.T) {
	for _, content := range []string{"", "one\n", "2026-01-02T03:04:05Z stdout F one\n"} {
		log := newLog(t, scenario.Log{File: "/nonexistent", FileContent: &content, Start: &metav1.Time{Time: began}})
		want := content[max(0, len(content)-len("one\n")):]
		if got := read(t, log, v1.PodLogOptions{}); got != want {
			t.Errorf("content %q: got %q, want %q", content, got, want)
		}
	}
}

// TestCRI checks that a text in the CRI's log format determines the times, streams and partial lines of the log.
func TestCRI(t *testing.T) {
	log := newLog(t, scenario.Log{Text: strings.Join([]string{
		"2026-01-02T03:04:05.5Z stdout F plain",
		"2026-01-02T03:04:06+02:00 stderr F wrong",
		"2026-01-02T03:04:07Z stdout P in ",
		"2026-01-02T03:04:08Z stdout F parts",
		"2026-01-02T03:04:09Z stdout F ",
		"",
	}, "\n")})
	if got, want := read(t, log, v1.PodLogOptions{}), "plain\nwrong\nin parts\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := "2026-01-02T03:04:05.500000000Z plain\n2026-01-02T03:04:06.000000000+02:00 " +
		"wrong\n2026-01-02T03:04:07.000000000Z in parts\n2026-01-02T03:04:09.000000000Z \n"
	if got := read(t, log, v1.PodLogOptions{Timestamps: true}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var stdout, stderr bytes.Buffer
	if err := log.Read(context.Background(), &v1.PodLogOptions{}, true, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "plain\nin parts\n\n" || stderr.String() != "wrong\n" {
		t.Errorf("got stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// TestEmptyPart checks that a line whose first part is empty has a timestamp before each of its parts.
func TestEmptyPart(t *testing.T) {
	log := newLog(t, scenario.Log{Text: "2026-01-02T03:04:05Z stdout P \n2026-01-02T03:04:06Z stdout F two\n"})
	const want = "2026-01-02T03:04:05.000000000Z 2026-01-02T03:04:06.000000000Z two\n"
	if got := read(t, log, v1.PodLogOptions{Timestamps: true}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUnfinishedLine checks a log in the CRI's format whose last line has no line feed. Read writes the last line
// without a line feed. The option tailLines does not count the last line, and a reader that follows the log does not
// get it.
func TestUnfinishedLine(t *testing.T) {
	const a, b, c = "2026-01-02T03:04:05Z stdout F a\n", "2026-01-02T03:04:06Z stdout F b\n",
		"2026-01-02T03:04:07Z stdout F c"
	tail := func(lines int64) v1.PodLogOptions { return v1.PodLogOptions{TailLines: &lines} }
	for _, test := range []struct {
		name, text string
		options    v1.PodLogOptions
		want       string
	}{
		{name: "all", text: a + b + c, want: "a\nb\nc"},
		{name: "tail-0", text: a + b + c, options: tail(0), want: ""},
		{name: "tail-1", text: a + b + c, options: tail(1), want: "b\n"},
		{name: "tail-2", text: a + b + c, options: tail(2), want: "a\nb\n"},
		{name: "tail-3", text: a + b + c, options: tail(3), want: "a\nb\nc"},
		{name: "tail-more", text: a + b + c, options: tail(math.MaxInt64), want: "a\nb\nc"},
		{name: "since", text: a + b + c, options: v1.PodLogOptions{SinceTime: &metav1.Time{
			Time: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC)}}, want: "c"},
		{name: "follow", text: a + b + c, options: v1.PodLogOptions{Follow: true}, want: "a\nb\n"},
		{name: "follow-tail-1", text: a + b + c, options: v1.PodLogOptions{Follow: true, TailLines: ptr.To[int64](1)},
			want: "b\n"},
		{name: "alone", text: c, want: "c"},
		{name: "alone-tail-1", text: c, options: tail(1), want: "c"},
		{name: "a-part", text: a + "2026-01-02T03:04:07Z stdout P c", want: "a\nc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := newLog(t, scenario.Log{Text: test.text})
			log.End(time.Now()) // so that a reader that follows the log returns
			if got := read(t, log, test.options); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestSinceSecondsOverflow checks that a number of seconds that does not fit into a time.Duration wraps around, as in a
// kubelet. The log then begins in the future.
func TestSinceSecondsOverflow(t *testing.T) {
	for _, description := range []scenario.Log{{Text: "one\ntwo\n"}, {Lines: 100_000}} {
		log := newLog(t, description)
		for _, seconds := range []int64{9223372037, 9999999999, math.MaxInt64} {
			if got := read(t, log, v1.PodLogOptions{SinceSeconds: &seconds}); got != "" {
				t.Errorf("sinceSeconds=%d: got %.40q, want an empty log", seconds, got)
			}
		}
	}
}

// TestDeterministic checks that two Logs generate the same lines, and that a different seed or name gives
// different lines.
func TestDeterministic(t *testing.T) {
	log := scenario.Log{Lines: 50, Stderr: 0.3}
	first := read(t, newLog(t, log), v1.PodLogOptions{})
	if second := read(t, newLog(t, log), v1.PodLogOptions{}); second != first {
		t.Errorf("two Logs generate different lines:\n%q\nand\n%q", first, second)
	}
	log.Seed = 1
	if other := read(t, newLog(t, log), v1.PodLogOptions{}); other == first {
		t.Error("a different seed generates the same lines")
	}
}

// TestEndless checks that the length of a log without an end depends on its age, and that its last lines can be read
// without reading the lines before them.
func TestEndless(t *testing.T) {
	log := newLog(t, scenario.Log{Start: &metav1.Time{Time: began},
		Interval: metav1.Duration{Duration: time.Millisecond}})
	lines := strings.Split(strings.TrimSpace(read(t, log, v1.PodLogOptions{TailLines: ptr.To[int64](3)})), "\n")
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

// TestWriterFails checks that Read returns the error of a writer that fails.
func TestWriterFails(t *testing.T) {
	gone := errors.New("gone")
	err := newLog(t, scenario.Log{Lines: 1_000_000}).Read(context.Background(), &v1.PodLogOptions{}, true,
		failing{gone}, nil)
	if !errors.Is(err, gone) {
		t.Errorf("Read returned the error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return 0, f.err
}

// FuzzRead compares the output for random options, which is computed without reading all lines, with the output of a
// simple implementation that reads every line.
func FuzzRead(f *testing.F) {
	f.Add(int64(20), int64(5), int64(3), int64(100), true, uint8(3), uint8(77))
	f.Add(int64(3000), int64(-1), int64(-1), int64(-1), false, uint8(0), uint8(0))
	f.Add(int64(11000), int64(10500), int64(400), int64(140000), false, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, lines, tail, since, limit int64, timestamps bool, stderr, stream uint8) {
		lines = lines%12000 + 1
		if lines < 1 {
			lines += 12000
		}
		log := newLog(t, scenario.Log{Lines: lines, Start: &metav1.Time{Time: began},
			Stderr: float64(stderr) / 255})
		options := v1.PodLogOptions{Timestamps: timestamps}

		// Read all lines, to know the time and the stream of each.
		var all []string
		var isErr []bool
		var outs, errs bytes.Buffer
		if err := log.Read(context.Background(), &v1.PodLogOptions{Timestamps: true}, true, &outs,
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
		if err := log.Read(context.Background(), &options, true, stdout, stderrOf); err != nil {
			t.Fatal(err)
		}
		if got.String() != expected {
			t.Errorf("got %d bytes, want %d", got.Len(), len(expected))
		}
	})
}

// TestBlocks checks that a block has the same lines as appendLine makes, also where the number gets another digit, and
// whether the block is new, kept or rendered again.
func TestBlocks(t *testing.T) {
	g := &generatedLines{seed: 7}
	scratch := new(block)
	for _, n := range []int64{0, 4, 48, 4882, 1 << 40, math.MaxInt64/blockLines - 1} {
		kept := g.block(n, true, scratch)
		if g.block(n, true, scratch) != kept || g.block(n, false, scratch) != kept {
			t.Errorf("block %d is not kept", n)
		}
		other := (&generatedLines{seed: 8}).block(n, false, scratch)
		if other != scratch || string(other.text) == string(kept.text) {
			t.Errorf("block %d of a log with another seed has the same text", n)
		}
		g.render(scratch, n)
		for i := range int64(blockLines) {
			want := string(g.appendLine(nil, n*blockLines+i))
			for _, b := range []*block{kept, scratch} {
				if got := string(b.text[b.starts[i]:b.starts[i+1]]); got != want {
					t.Fatalf("block %d, line %d: got %q, want %q", n, i, got, want)
				}
			}
		}
	}
}

func BenchmarkRead(b *testing.B) {
	log := newLog(b, scenario.Log{Lines: 1_000_000})
	for _, c := range []struct {
		name    string
		options v1.PodLogOptions
	}{
		{name: "plain", options: v1.PodLogOptions{}},
		{name: "kept", options: v1.PodLogOptions{TailLines: ptr.To[int64](20_000)}},
		{name: "timestamps", options: v1.PodLogOptions{Timestamps: true}},
		{name: "tail-10", options: v1.PodLogOptions{TailLines: ptr.To[int64](10)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(read(b, log, c.options))))
			for b.Loop() {
				if err := log.Read(context.Background(), &c.options, true, io.Discard,
					io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
