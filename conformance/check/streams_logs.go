package check

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/conformance/hostile"
)

// The constant "lateLine" is a delay. If the lines of a followed log take longer, they are late. No proxy has a reason
// to delay a line.
const lateLine = time.Second

func checkLatency(ctx context.Context, k *kubelet, f *finding) error {
	const lines = 15
	write := make(chan struct{}, lines)
	k.handle(func(w http.ResponseWriter, request *http.Request) {
		control := http.NewResponseController(w)
		_ = control.Flush()
		for {
			select {
			case <-write:
			case <-request.Context().Done():
				return
			}
			fmt.Fprintln(w, time.Now().Format(time.RFC3339Nano))
			_ = control.Flush()
		}
	})
	following, stop := context.WithCancel(ctx)
	defer stop()
	soon := k.run.soon
	// inTime calls the given function, and returns true if it returned within the time limit. Otherwise, inTime cancels
	// the request for the followed log, so that the function returns, and inTime then returns false.
	inTime := func(do func()) bool {
		timer := time.AfterFunc(soon, stop)
		do()
		return timer.Stop()
	}
	var stream io.ReadCloser
	var err error
	began := inTime(func() { stream, err = k.streamLogs(following, v1.PodLogOptions{Follow: true}) })
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case !began:
		return f.fail("a followed log did not begin within %v; perhaps a proxy waits for data", soon)
	case err != nil:
		return err
	}
	defer stream.Close()
	in := bufio.NewReader(stream)
	var took []time.Duration
	for range lines {
		write <- struct{}{}
		var line string
		arrived := inTime(func() { line, err = in.ReadString('\n') })
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case !arrived:
			f.note("%d lines arrived before", len(took))
			return f.fail("a line of a followed log did not arrive within %v; perhaps a proxy buffers lines", soon)
		case err != nil:
			return f.fail("a followed log ended while its container was writing")
		}
		written, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(line))
		if err != nil {
			return f.fail("a line of a followed log differs: %v", err)
		}
		took = append(took, time.Since(written))
	}
	slices.Sort(took)
	middle := took[len(took)/2]
	f.note("%d single lines: half of them within %v, all within %v", lines, middle.Round(10*time.Microsecond),
		took[len(took)-1].Round(10*time.Microsecond))
	if middle > lateLine {
		f.fail("lines of a followed log arrive late")
	}
	return nil
}

// large is the size of the log that the check streams.large-log requests.
const large = 64 << 20

func checkLargeLog(ctx context.Context, k *kubelet, f *finding) error {
	sent, got := sha256.New(), sha256.New()
	k.handle(func(w http.ResponseWriter, _ *http.Request) { writeNoise(io.MultiWriter(w, sent), large) })
	began := time.Now()
	stream, err := k.streamLogs(ctx, v1.PodLogOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	n, err := io.Copy(got, stream)
	took := time.Since(began)
	f.note("a log of %s; received %s in %v (%.0f MiB/s)", size(large), size(n), took.Round(time.Millisecond),
		float64(n)/(1<<20)/took.Seconds())
	switch sum := got.Sum(nil); {
	case err != nil:
		f.fail("a large log breaks off: %v", err)
	case n != large:
		f.fail("of %d bytes of a log %d arrived, without an error", int64(large), n)
	case !slices.Equal(sum, sent.Sum(nil)):
		f.fail("the received log differs from the log that the kubelet sent")
	default:
		f.note("the same SHA-256 on both sides: %x", sum[:8])
	}
	return nil
}

// writeNoise writes n incompressible bytes.
func writeNoise(w io.Writer, n int) {
	source := rand.NewChaCha8([32]byte{})
	block := make([]byte, 64<<10)
	_, _ = source.Read(block)
	for i := 0; n > 0; i++ {
		binary.LittleEndian.PutUint64(block, uint64(i)) // makes every block different
		m, err := w.Write(block[:min(len(block), n)])
		if err != nil {
			return
		}
		n -= m
	}
}

func checkWords(ctx context.Context, k *kubelet, f *finding) error {
	answer := func(code int) {
		k.handle(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "these are the words of the kubelet", code)
		})
	}
	codes := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusInternalServerError}
	for _, code := range codes {
		answer(code)
		got := k.logs(ctx)
		if err := context.Cause(ctx); err != nil {
			return err
		}
		s := got.status()
		if s == nil {
			f.fail("the user does not get a Status for a kubelet's %d for logs: %s", code, got)
			continue
		}
		if s.Code != int32(code) {
			f.fail("the user gets %d for a kubelet's %d for logs: %s", s.Code, code, s.Message)
		}
		f.note("logs, %d: the user sees %q", code, s.Message)
	}
	for _, req := range upgradeRequests[:2] {
		for _, code := range codes[1:] {
			answer(code)
			got := k.send(ctx, req)
			if err := orCause(ctx, got.err); err != nil {
				return err
			}
			if got.isSuccess(req) {
				f.fail("the user gets a success for a kubelet's %d for %s", code, req.name)
			}
			f.note("%s, %d: the user sees %s", req.name, code, got)
		}
	}
	return nil
}

func checkCut(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, behavior := range hostile.BrokenResponses() {
		if behavior.Name != "cut" && behavior.Name != "nothing" {
			continue
		}
		for _, req := range sampleRequests {
			if behavior.Name == "cut" && !req.isLog() {
				continue // the behavior "cut" sends the beginning of a log
			}
			t, err := v.trySending(ctx, req, behavior)
			switch {
			case t.got.hangs && context.Cause(ctx) == nil:
				return f.fail("%s: the kubelet %s, and the user's request does not end within %v", req.name,
					behavior.Action, v.run.soon)
			case err != nil:
				return err
			}
			f.note("%s: the kubelet %s: the user sees %s", req.name, behavior.Action, t.got)
		}
	}
	return nil
}

// unanswered is the timeout of a log request to a kubelet that does not respond.
const unanswered = 2 * time.Second

func checkTimeout(ctx context.Context, v *hostileKubelet, f *finding) error {
	waiting, cancel := context.WithTimeout(ctx, unanswered)
	defer cancel()
	began := time.Now()
	var got logResponse
	if _, err := v.try(ctx, logRequest, hostile.Silence(), v.run.soon, func() reply {
		got = v.logs(waiting)
		return reply{err: got.err}
	}); err != nil {
		return err
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	if waiting.Err() == nil {
		f.note("after %v without a response to a request for logs the user got: %s", took, got)
		return nil
	}
	f.note("kube-apiserver waited for a kubelet that does not respond until the user gave up, after %v", took)
	f.note("up to v1.37, kube-apiserver accepts --kubelet-timeout but does not use it " +
		"(kubernetes/kubernetes#102052): there is no timeout and no flag to set one")
	return nil
}
