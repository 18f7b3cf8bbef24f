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
			ID: "after.reuse", Title: "connections are used again",
			Proves: "Requests for logs, one after the other, share a connection, by HTTP/2 and by HTTP/1.1, and leave no more than one open.",
			Needs:  []string{"reach.dialled"},
			run:    checkReuse,
		},
		{
			ID: "after.open", Title: "nothing stays open for clients that have gone",
			Proves: "When its clients have gone, kube-apiserver ends what it has open for them to a kubelet: followed logs, exec, attach, port-forward.",
			Needs:  []string{"reach.dialled"},
			run:    checkOpen,
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
		k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name}, tls: func(c *tls.Config) { c.NextProtos = []string{protocol} }})
		if err != nil {
			return conformance.Result{}, err
		}
		defer k.Close()
		for range times {
			if got := k.logs(ctx, nil); got.err != nil {
				return conformance.Result{}, got.err
			}
		}
		all := k.seen()
		open := 0
		for _, s := range all {
			if s.Closed.IsZero() {
				open++
			}
		}
		if open > 1 {
			f.blames("%d requests for logs, one after the other, leave %d connections open", times, open)
		}
		f.saw("%d requests for logs, one after the other, by %s: %d connections, of which %d stays open for more", times, protocol, len(all), open)
	}
	return f.result(upgrade), nil
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
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "open"}, handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		count(1)
		defer count(-1)
		standIn.ServeHTTP(w, request)
	})})
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
				_ = executor.StreamWithContext(clients, remotecommand.StreamOptions{Stdin: untilDone{clients}, Stdout: io.Discard})
			})
			wanted++
		}
		for _, way := range roads {
			if way.verb != "portforward" {
				continue
			}
			gone.Go(func() {
				if l, err := k.travel(clients, way); err == nil {
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
		return conformance.Result{}, fmt.Errorf("not all of %d streams began: %w", wanted, context.Cause(ctx))
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
	evidence := []string{fmt.Sprintf("%d followed logs, %d commands and %d forwarded ports were open at once", each, 2*each, 2*each)}
	connections := k.seen()
	still := len(slices.DeleteFunc(slices.Clone(connections), func(s seen) bool { return !s.Closed.IsZero() }))
	evidence = append(evidence, fmt.Sprintf("of %d connections %d are open afterwards, for more requests", len(connections), still))
	if !ended {
		mu.Lock()
		defer mu.Unlock()
		return fail(fmt.Sprintf("%d streams of clients that have gone are still open after %v", open, r.soon), upgrade, evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("all had ended %v after their clients had gone", took))...), nil
}

// untilDone is an input without a byte, that ends with a context.
type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}
