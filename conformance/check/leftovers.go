package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/tools/remotecommand"

	"fauxlet/conformance"
	"fauxlet/scenario"
)

func afterChecks() []Check {
	return []Check{
		{
			ID: "after.reuse", Title: "connections are reused",
			Proves: "Sequential requests for logs leave at most one connection open, with HTTP/2 and with HTTP/1.1.",
			Needs:  []string{"reach.dialled"},
			run:    checkReuse,
		},
		{
			ID: "after.open", Title: "streams end when their clients leave",
			Proves: "When its clients leave, kube-apiserver ends their streams to the kubelet: followed logs, " +
				"exec, and port-forward.",
			Needs: []string{"reach.dialled"},
			run:   checkOpen,
		},
	}
}

func checkReuse(ctx context.Context, r *run) (conformance.Result, error) {
	const times = 10
	var f finding
	for _, protocol := range []string{"h2", "http/1.1"} {
		name := "reuse-h2"
		if protocol != "h2" {
			name = "reuse-h1"
		}
		k, err := r.kubelet(
			ctx,
			kubeletOptions{
				node: nodeOptions{name: name},
				tls:  func(c *tls.Config) { c.NextProtos = []string{protocol} },
			},
		)
		if err != nil {
			return conformance.Result{}, err
		}
		defer k.Close()
		for range times {
			if got := k.logs(ctx, nil); got.err != nil {
				return conformance.Result{}, got.err
			}
		}
		all := k.observed()
		open := 0
		for _, s := range all {
			if s.Closed.IsZero() {
				open++
			}
		}
		if open > 1 {
			f.problem("%d sequential requests for logs leave %d connections open", times, open)
		}
		f.note(
			"%d sequential requests for logs with %s: %d connections, %d of them still open",
			times,
			protocol,
			len(all),
			open,
		)
	}
	return f.result(updateRemedy), nil
}

func checkOpen(ctx context.Context, r *run) (conformance.Result, error) {
	const each = 3
	var mu sync.Mutex
	began, open := 0, 0
	changed := make(chan struct{}, 1)
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		open += n
		if n > 0 {
			began++
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var standIn http.Handler
	k, err := r.kubelet(
		ctx,
		kubeletOptions{
			node: nodeOptions{name: "open"},
			handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				count(1)
				defer count(-1)
				standIn.ServeHTTP(w, request)
			}),
		},
	)
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	if standIn, err = r.standIn(k.node, scenario.Container{}); err != nil {
		return conformance.Result{}, err
	}
	clients, leave := context.WithCancel(ctx)
	defer leave()
	var gone sync.WaitGroup
	defer gone.Wait()
	defer leave()
	wanted := 0
	for range each {
		gone.Go(func() {
			if stream, err := k.follow(clients); err == nil {
				<-clients.Done()
				stream.Close()
			}
		})
		wanted++
		for _, p := range []protocol{bySPDY, byWebSocket} {
			executor, err := r.executor(p, k.url("exec", "command=cat&stdin=true&stdout=true&container="+container))
			if err != nil {
				return conformance.Result{}, err
			}
			gone.Go(func() {
				_ = executor.StreamWithContext(
					clients,
					remotecommand.StreamOptions{Stdin: untilDone{clients}, Stdout: io.Discard},
				)
			})
			wanted++
		}
		for _, req := range upgradeRequests {
			if req.verb != "portforward" {
				continue
			}
			gone.Go(func() {
				if l, err := k.open(clients, req); err == nil {
					<-clients.Done()
					l.Close()
				}
			})
			wanted++
		}
	}
	wait := func(ctx context.Context, done func() bool) bool {
		for {
			mu.Lock()
			ok := done()
			mu.Unlock()
			if ok {
				return true
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return false
			}
		}
	}
	if !wait(ctx, func() bool { return began == wanted }) {
		return conformance.Result{}, fmt.Errorf("only some of %d streams began: %w", wanted, context.Cause(ctx))
	}
	leave()
	left := time.Now()
	ending, cancel := context.WithTimeout(ctx, r.soon)
	defer cancel()
	ended := wait(ending, func() bool { return open == 0 })
	took := time.Since(left).Round(time.Millisecond)
	if err := context.Cause(ctx); err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{
		fmt.Sprintf("open at once: %d followed logs, %d commands and %d forwarded ports", each, 2*each, 2*each),
	}
	connections := k.observed()
	still := len(slices.DeleteFunc(slices.Clone(connections), func(s observed) bool { return !s.Closed.IsZero() }))
	evidence = append(
		evidence,
		fmt.Sprintf("%d connections, %d of them still open for further requests", len(connections), still),
	)
	if !ended {
		mu.Lock()
		defer mu.Unlock()
		return fail(
			fmt.Sprintf("%d streams are still open %v after their clients left", open, r.soon),
			updateRemedy,
			evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("all streams ended within %v after their clients left", took))...), nil
}

// untilDone is an input stream without data that ends when its context is done.
type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}
