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

// lateLine is the delay above which a line of a followed log is late. People notice a delay of a second, and no
// proxy has a reason to delay a line.
const lateLine = time.Second

var errNotBegun = errors.New("the log has not begun")

func checkLatency(ctx context.Context, r *run) (conformance.Result, error) {
	const lines = 15
	write, written := make(chan struct{}), make(chan time.Time, lines)
	k, err := r.kubelet(
		ctx,
		kubeletOptions{
			node: nodeOptions{name: "latency"},
			handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
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
			}),
		},
	)
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	following, stop := context.WithCancel(ctx)
	defer stop()
	const remedy = betweenRemedy + "must not buffer streams; with nginx: proxy_buffering off"
	beginning, cancel := context.WithTimeoutCause(ctx, r.soon, errNotBegun)
	defer cancel()
	stream, err := within(beginning, func() (io.ReadCloser, error) { return k.follow(following) })
	switch {
	case errors.Is(err, errNotBegun):
		return fail(
			fmt.Sprintf("a followed log did not begin within %v; perhaps a proxy waits for data", r.soon),
			remedy,
		), nil
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
				return fail("a followed log ended while its container was writing", remedy), nil
			}
			took = append(took, now.Sub(at))
		case <-time.After(r.soon):
			return fail(
				fmt.Sprintf("a line of a followed log did not arrive within %v; perhaps a proxy buffers lines", r.soon),
				remedy,
				fmt.Sprintf("%d lines arrived before", len(took)),
			), nil
		case <-ctx.Done():
			return conformance.Result{}, context.Cause(ctx)
		}
	}
	slices.Sort(took)
	middle := took[len(took)/2]
	evidence := fmt.Sprintf(
		"%d single lines: half of them within %v, all within %v",
		lines,
		middle.Round(10*time.Microsecond),
		took[len(took)-1].Round(10*time.Microsecond),
	)
	if middle > lateLine {
		return fail("lines of a followed log arrive late", remedy, evidence), nil
	}
	return pass(evidence), nil
}

// follow follows the log of the Node's pod.
func (n *node) follow(ctx context.Context) (io.ReadCloser, error) {
	return n.run.client.CoreV1().Pods(n.pod.Namespace).GetLogs(n.pod.Name, &v1.PodLogOptions{Follow: true}).Stream(ctx)
}

// large is the size of the log that the check streams.large-log requests.
const large = 64 << 20

func checkLargeLog(ctx context.Context, r *run) (conformance.Result, error) {
	sent := sha256.New()
	k, err := r.kubelet(
		ctx,
		kubeletOptions{
			node: nodeOptions{name: "large"},
			handler: http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) { writeNoise(io.MultiWriter(w, sent), large) },
			),
		},
	)
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
	const remedy = betweenRemedy + "must not limit the size or the duration of a response"
	evidence := []string{
		fmt.Sprintf(
			"a log of %s; received %s in %v (%.0f MiB/s)",
			size(large),
			size(n),
			took.Round(time.Millisecond),
			float64(n)/(1<<20)/took.Seconds(),
		),
	}
	switch {
	case err != nil:
		return fail(fmt.Sprintf("a large log breaks off: %v", err), remedy, evidence...), nil
	case n != large:
		return fail(
			fmt.Sprintf("of %d bytes of a log %d arrived, without an error", int64(large), n),
			remedy,
			evidence...), nil
	case !equalSums(sent, got):
		return fail("the received log differs from the sent one", remedy, evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("the same SHA-256 on both sides: %x", got.Sum(nil)[:8]))...), nil
}

// writeNoise writes n incompressible bytes.
func writeNoise(w io.Writer, n int) {
	source := rand.New(rand.NewPCG(1, 2))
	block := make([]byte, 64<<10)
	for i := 0; i < len(block); i += 8 {
		binary.LittleEndian.PutUint64(block[i:], source.Uint64())
	}
	for i := 0; n > 0; i++ {
		binary.LittleEndian.PutUint64(block, uint64(i)) // makes every block different
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
	k, err := r.kubelet(
		ctx,
		kubeletOptions{
			node: nodeOptions{name: "words"},
			handler: http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) { http.Error(w, words, int(status.Load())) },
			),
		},
	)
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	var f finding
	for _, code := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusNotFound, http.StatusInternalServerError} {
		status.Store(int32(code))
		got := k.logs(ctx, nil)
		if err := context.Cause(ctx); err != nil {
			return conformance.Result{}, err
		}
		s := got.status()
		switch {
		case s == nil:
			f.problem("the user does not get a Status for a kubelet's %d for logs: %s", code, got.String())
			continue
		case s.Code != int32(code):
			f.problem("the user gets %[2]d for a kubelet's %[1]d for logs: %[3]s", code, s.Code, s.Message)
		}
		f.note("logs, %d: the user sees %q", code, s.Message)
	}
	for _, req := range []userRequest{upgradeRequests[0], upgradeRequests[1]} {
		for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
			http.StatusInternalServerError} {
			status.Store(int32(code))
			got := k.send(ctx, req, part)
			if err := orCause(ctx, got.err); err != nil {
				return conformance.Result{}, err
			}
			if got.isSuccess(req) {
				f.problem("the user gets a success for a kubelet's %d for %s", code, req.name)
			}
			f.note("%s, %d: the user sees %s", req.name, code, got.String())
		}
	}
	return f.result(betweenRemedy + "must pass on the status and the body of a response"), nil
}

// closeRemedy is the remedy if the user is not notified that the kubelet's connection has ended.
const closeRemedy = betweenRemedy + "must pass on the end of a connection"

func checkCut(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, behavior := range hostile.BrokenResponses() {
		if behavior.Name != "cut" && behavior.Name != "nothing" {
			continue
		}
		for _, req := range []userRequest{logRequest, followRequest, upgradeRequests[0], upgradeRequests[1]} {
			if behavior.Name == "cut" && req.verb != logRequest.verb {
				continue // it sends the beginning of a log
			}
			var got reply
			v.during(ctx, behavior, v.run.soon, func() { got = v.send(ctx, req, part) })
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if got.hangs {
				f.problem(
					"%s: the kubelet %s, and the user's request does not end within %v",
					req.name,
					behavior.Action,
					v.run.soon,
				)
				return nil
			}
			f.note("%s: the kubelet %s: the user sees %s", req.name, behavior.Action, got.String())
		}
	}
	return nil
}

// unanswered is the timeout of a log request to a kubelet that does not respond.
const unanswered = 2 * time.Second

func checkTimeout(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.hostileKubelet(ctx, "timeout")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	waiting, cancel := context.WithTimeout(ctx, unanswered)
	defer cancel()
	began := time.Now()
	var got logResponse
	v.during(ctx, hostile.Silence(), r.soon, func() { got = v.logs(waiting, nil) })
	if err := context.Cause(ctx); err != nil {
		return conformance.Result{}, err
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	if waiting.Err() == nil {
		return pass(
			fmt.Sprintf("after %v without a response to a request for logs the user got: %s", took, got.String()),
		), nil
	}
	return pass(
		fmt.Sprintf("kube-apiserver waited for a kubelet that does not respond until the user gave up, after %v", took),
		"up to v1.37, kube-apiserver accepts --kubelet-timeout but does not use it "+
			"(kubernetes/kubernetes#102052): there is no timeout and no flag to set one",
	), nil
}
