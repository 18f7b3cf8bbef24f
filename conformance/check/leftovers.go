package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
)

func afterChecks() []Check {
	return []Check{
		{ID: "after.reuse", Title: "connections are reused",
			Proves: "Sequential requests for logs leave at most one connection open, with HTTP/2 and with HTTP/1.1.",
			run:    checkReuse, remedy: updateRemedy},
		{ID: "after.open", Title: "streams end when their clients leave",
			Proves: "When its clients leave, kube-apiserver ends their streams to the kubelet: followed logs, " +
				"exec, and port-forward.", run: withNode("open", checkOpen), remedy: updateRemedy},
	}
}

func checkReuse(ctx context.Context, r *run, f *finding) error {
	for i, protocol := range []string{"h2", "http/1.1"} {
		k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: fmt.Sprintf("reuse-%d", i)},
			tls: func(c *tls.Config) { c.NextProtos = []string{protocol} }})
		if err != nil {
			return err
		}
		defer k.Close()
		const times = 10
		for range times {
			if got := k.logs(ctx); got.err != nil {
				return got.err
			}
		}
		all := k.states.All()
		open := countOpen(all)
		if open > 1 {
			f.fail("%d sequential requests for logs leave %d connections open", times, open)
		}
		f.note("%d sequential requests for logs with %s: %d connections, %d of them still open", times, protocol,
			len(all), open)
	}
	return nil
}

func countOpen(all []observed) int { return len(slices.DeleteFunc(slices.Clone(all), isClosed)) }

func checkOpen(ctx context.Context, k *kubelet, f *finding) error {
	clients, leave := context.WithCancel(ctx)
	var gone sync.WaitGroup
	defer gone.Wait()
	defer leave()
	wanted := 0
	start := func(stream func()) {
		wanted++
		gone.Go(stream)
	}
	// hold keeps a stream open until all clients leave, and then closes it.
	hold := func(stream io.Closer, err error) {
		if err == nil {
			<-clients.Done()
			stream.Close()
		}
	}
	const each = 3
	for range each {
		start(func() { hold(k.streamLogs(clients, v1.PodLogOptions{Follow: true})) })
		for _, p := range []protocol{bySPDY, byWebSocket} {
			query := url.Values{"command": {"cat"}, "stdin": {"true"}, "stdout": {"true"}}
			executor, err := k.executor(p, "exec", query)
			if err != nil {
				return err
			}
			options := remotecommand.StreamOptions{Stdin: untilDone{clients}, Stdout: io.Discard}
			start(func() { _ = executor.StreamWithContext(clients, options) })
		}
		for _, req := range upgradeRequests {
			if req.verb == "portforward" {
				start(func() { hold(k.open(clients, req)) })
			}
		}
	}
	all, began := k.states.Wait(ctx, func(all []observed) bool { return len(requests(all)) == wanted })
	if !began {
		return fmt.Errorf("only %d of %d streams began: %w", len(requests(all)), wanted, context.Cause(ctx))
	}
	leave()
	left := time.Now()
	ending, cancel := context.WithTimeout(ctx, k.run.soon)
	defer cancel()
	open := 0
	all, ended := k.states.Wait(ending, func(all []observed) bool {
		open = len(slices.DeleteFunc(requests(all), func(r request) bool { return r.Ended }))
		return open == 0
	})
	took := time.Since(left).Round(time.Millisecond)
	f.note("open at once: %d followed logs, %d commands and %d forwarded ports", each, 2*each, 2*each)
	f.note("%d connections, %d of them still open for further requests", len(all), countOpen(all))
	if !ended {
		return f.fail("%d streams are still open %v after their clients left", open, k.run.soon)
	}
	f.note("all streams ended within %v after their clients left", took)
	return nil
}

// untilDone is an input stream without data that ends when its context is done.
type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}
