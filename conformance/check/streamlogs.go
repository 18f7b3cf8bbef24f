package check

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

// lateLine is how late a line of a followed log may come: a second is what people notice. Nothing on the way has a reason
// to keep it for longer than it takes to write.
const lateLine = time.Second

var errNotBegun = errors.New("it has not begun")

func checkLatency(ctx context.Context, r *run) (conformance.Result, error) {
	const lines = 15
	write, written := make(chan struct{}), make(chan time.Time, lines)
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "latency"}, handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		control := http.NewResponseController(w)
		_ = control.Flush()
		for {
			select {
			case <-write:
			case <-request.Context().Done():
				return
			}
			now := time.Now()
			fmt.Fprintln(w, "a line of a log")
			_ = control.Flush()
			written <- now
		}
	})})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	following, stop := context.WithCancel(ctx)
	defer stop()
	const remedy = "# what is between fauxlet and kube-apiserver, or between it and the nodes, must not buffer what is streamed; for nginx: proxy_buffering off"
	beginning, cancel := context.WithTimeoutCause(ctx, r.soon, errNotBegun)
	defer cancel()
	stream, err := within(beginning, func() (io.ReadCloser, error) { return k.follow(following) })
	switch {
	case errors.Is(err, errNotBegun):
		return fail(fmt.Sprintf("a followed log has not begun within %v; somebody waits until there is something in it", r.soon), remedy), nil
	case err != nil:
		return conformance.Result{}, err
	}
	defer stream.Close()
	read := make(chan time.Time)
	go func() {
		defer close(read)
		for in := bufio.NewScanner(stream); in.Scan(); {
			select {
			case read <- time.Now():
			case <-following.Done():
				return
			}
		}
	}()
	var took []time.Duration
	for range lines {
		write <- struct{}{}
		at := <-written
		select {
		case now, ok := <-read:
			if !ok {
				return fail("a followed log ended while its container writes", remedy), nil
			}
			took = append(took, now.Sub(at))
		case <-time.After(r.soon):
			return fail(fmt.Sprintf("a line of a followed log did not come within %v; somebody waits for more of them", r.soon), remedy,
				fmt.Sprintf("%d lines had come before", len(took))), nil
		case <-ctx.Done():
			return conformance.Result{}, context.Cause(ctx)
		}
	}
	slices.Sort(took)
	middle := took[len(took)/2]
	evidence := fmt.Sprintf("%d lines, one at a time: half of them within %v, all within %v", lines, middle.Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
	if middle > lateLine {
		return fail("lines of a followed log come late", remedy, evidence), nil
	}
	return pass(evidence), nil
}

// follow asks for the log of the Node's pod as it grows.
func (n *node) follow(ctx context.Context) (io.ReadCloser, error) {
	return n.run.client.CoreV1().Pods(n.pod.Namespace).GetLogs(n.pod.Name, &v1.PodLogOptions{Follow: true}).Stream(ctx)
}

// large is how large the log is that has to come whole.
const large = 64 << 20

func checkLargeLog(ctx context.Context, r *run) (conformance.Result, error) {
	sent := sha256.New()
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "large"}, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeNoise(io.MultiWriter(w, sent), large) })})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	began := time.Now()
	stream, err := k.run.client.CoreV1().Pods(k.pod.Namespace).GetLogs(k.pod.Name, &v1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return conformance.Result{}, err
	}
	defer stream.Close()
	got := sha256.New()
	n, err := io.Copy(got, stream)
	took := time.Since(began)
	const remedy = "# what is between fauxlet and kube-apiserver, or between it and the nodes, must not limit the size or the time of an answer"
	evidence := []string{fmt.Sprintf("a log of %s; %s came, in %v (%.0f MiB/s)", size(large), size(n), took.Round(time.Millisecond), float64(n)/(1<<20)/took.Seconds())}
	switch {
	case err != nil:
		return fail(fmt.Sprintf("a large log breaks off: %v", err), remedy, evidence...), nil
	case n != large:
		return fail(fmt.Sprintf("of %d bytes of a log %d came, without an error", int64(large), n), remedy, evidence...), nil
	case !equalSums(sent, got):
		return fail("what came of a large log is not what was sent", remedy, evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("SHA-256 %x at both ends", got.Sum(nil)[:8]))...), nil
}

// writeNoise writes bytes that cannot be compressed.
func writeNoise(w io.Writer, n int) {
	source := rand.New(rand.NewPCG(1, 2))
	block := make([]byte, 64<<10)
	for i := 0; i < len(block); i += 8 {
		binary.LittleEndian.PutUint64(block[i:], source.Uint64())
	}
	for i := 0; n > 0; i++ {
		binary.LittleEndian.PutUint64(block, uint64(i)) // so that no two are alike
		m, err := w.Write(block[:min(len(block), n)])
		if err != nil {
			return
		}
		n -= m
	}
}

func equalSums(a, b hash.Hash) bool { return string(a.Sum(nil)) == string(b.Sum(nil)) }

func checkWords(ctx context.Context, r *run) (conformance.Result, error) {
	const words = "these are the words of the kubelet"
	var status atomic.Int32
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "words"}, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, words, int(status.Load())) })})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	var f finding
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
		status.Store(int32(code))
		got := k.logs(ctx, nil)
		if err := context.Cause(ctx); err != nil {
			return conformance.Result{}, err
		}
		s := got.status()
		switch {
		case s == nil:
			f.blames("a kubelet's %d for logs becomes something else than a Status: %s", code, got.said())
			continue
		case s.Code != int32(code):
			f.blames("a kubelet's %d for logs becomes %d: %s", code, s.Code, s.Message)
		}
		f.saw("logs, %d: the user sees %q", code, s.Message)
	}
	for _, way := range []road{roads[0], roads[1]} {
		for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
			status.Store(int32(code))
			got := k.take(ctx, way, part)
			if err := orCause(ctx, got.err); err != nil {
				return conformance.Result{}, err
			}
			if got.isDone(way) {
				f.blames("a kubelet's %d for %s becomes a success", code, way.name)
			}
			f.saw("%s, %d: the user sees %s", way.name, code, got.says())
		}
	}
	return f.result("# what is between fauxlet and kube-apiserver must pass on status and body of an answer"), nil
}

// bothWays is a remedy for what does not hear of the other side's end.
const bothWays = "# what is between kube-apiserver and the nodes must pass on that a connection is closed"

func checkCut(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "cut")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, behavior := range hostile.BrokenResponses() {
		if behavior.Name != "cut" && behavior.Name != "nothing" {
			continue
		}
		for _, way := range []road{logs, following, roads[0], roads[1]} {
			if behavior.Name == "cut" && way.verb != logs.verb {
				continue // it is an answer with a log
			}
			var got reply
			v.play(ctx, behavior, r.soon, func() { got = v.take(ctx, way, part) })
			if err := context.Cause(ctx); err != nil {
				return conformance.Result{}, err
			}
			if got.hangs {
				f.blames("%s: the kubelet %s, and the user's request does not end within %v", way.name, behavior.Action, r.soon)
				return f.result(bothWays), nil
			}
			f.saw("%s: the kubelet %s: the user sees %s", way.name, behavior.Action, got.says())
		}
	}
	return f.result(bothWays), nil
}

// unanswered is how long a kubelet is waited for that does not answer.
const unanswered = 2 * time.Second

func checkTimeout(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "timeout")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	waiting, cancel := context.WithTimeout(ctx, unanswered)
	defer cancel()
	began := time.Now()
	var got answer
	v.play(ctx, hostile.Silence(), r.soon, func() { got = v.logs(waiting, nil) })
	if err := context.Cause(ctx); err != nil {
		return conformance.Result{}, err
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	if waiting.Err() == nil {
		return pass(fmt.Sprintf("after %v of no answer to a request for logs the user was told: %s", took, got.said())), nil
	}
	return pass(fmt.Sprintf("a kubelet that takes a request for logs and never answers was waited for until the user had enough, after %v", took),
		"kube-apiserver takes --kubelet-timeout and, up to v1.37, uses it for nothing (kubernetes/kubernetes#102052): there is no bound, and no flag that sets one"), nil
}
