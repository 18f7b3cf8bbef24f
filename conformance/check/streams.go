package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"fauxlet/conformance"
	"fauxlet/scenario"
)

// toKubelet is the declared feature of a Node whose kubelet translates WebSockets. For other Nodes, the
// kube-apiserver translates them.
const toKubelet = "ExtendWebSocketsToKubelet"

func streamChecks() []Check {
	needs := []string{"reach.dialled"}
	type runs = func(context.Context, *run) (conformance.Result, error)
	exec := func(p protocol, feature string) runs {
		return func(ctx context.Context, r *run) (conformance.Result, error) { return checkExec(ctx, r, p, feature) }
	}
	forward := func(p protocol, feature string) runs {
		return func(ctx context.Context, r *run) (conformance.Result, error) {
			return checkPortForward(ctx, r, p, feature)
		}
	}
	return []Check{
		{
			ID: "streams.exec-spdy", Title: "exec works with SPDY", Needs: needs, run: exec(bySPDY, ""),
			Proves: "A command gets its complete input, and its output, errors and exit code come back, with the " +
				"protocol of kubectl before v1.31.",
		},
		{
			ID: "streams.exec-websocket", Title: "exec works with WebSocket", Needs: needs, run: exec(byWebSocket, ""),
			Proves: "The same with the protocol of kubectl since v1.31, which kube-apiserver translates for " +
				"the kubelet.",
		},
		{
			ID: "streams.exec-websocket-to-kubelet", Title: "exec works with WebSocket to the " +
				"kubelet", Needs: needs, run: exec(byWebSocket, toKubelet),
			Proves: "The same for a Node that declares ExtendWebSocketsToKubelet: its kubelet translates the protocol.",
		},
		{
			ID: "streams.attach", Title: "attach works with SPDY and with WebSocket", Needs: needs, run: checkAttach,
			Proves: "Input reaches the container, and its output comes back at once.",
		},
		{
			ID: "streams.port-forward-spdy", Title: "port-forward works with SPDY", Needs: needs,
			run: forward(bySPDY, ""),
			Proves: "A connection to a port of a pod carries bytes in both directions, and each direction can end " +
				"separately.",
		},
		{
			ID: "streams.port-forward-websocket", Title: "port-forward works with WebSocket", Needs: needs,
			run:    forward(byWebSocket, ""),
			Proves: "The same with the protocol of kubectl since v1.31.",
		},
		{
			ID: "streams.port-forward-websocket-to-kubelet", Title: "port-forward works with WebSocket to the " +
				"kubelet", Needs: needs, run: forward(byWebSocket, toKubelet),
			Proves: "The same for a Node that declares ExtendWebSocketsToKubelet: its kubelet translates the protocol.",
		},
		{
			ID: "streams.latency", Title: "a line of a followed log arrives at once", Needs: needs, run: checkLatency,
			Proves: "Nothing between the kubelet and the user buffers lines.",
		},
		{
			ID: "streams.large-log", Title: "a large log arrives completely", Needs: needs, run: checkLargeLog,
			Proves: "A log of 64 MiB has the same bytes on both sides.",
		},
		{
			ID: "streams.words", Title: "the user gets the kubelet's errors", Needs: needs, run: checkWords,
			Proves: "The user gets the same status for a kubelet's 401, 403, 404 and 500. The evidence has the " +
				"messages.",
		},
		{
			ID: "streams.cut", Title: "the user's request ends with the connection to the kubelet", Needs: needs,
			run: withHostileKubelet("cut", closeRemedy, checkCut),
			Proves: "If the connection breaks in the middle of a log, or before the response, the user's request " +
				"ends. The evidence has what the user gets.",
		},
		{
			ID: "streams.timeout", Title: "how long kube-apiserver waits for a kubelet",
			Flag: "--kubelet-timeout", Needs: needs, run: checkTimeout,
			Proves: "This check cannot fail. The evidence has how long kube-apiserver waits for a response; no " +
				"flag limits it in v1.37.",
		},
	}
}

// protocol is a streaming protocol that a client uses.
type protocol string

const (
	bySPDY      protocol = "SPDY"
	byWebSocket protocol = "WebSocket"
)

// betweenRemedy begins the remedies for problems that a proxy on the way may cause.
const betweenRemedy = "# a proxy between fauxlet and kube-apiserver, or between kube-apiserver and the nodes, "

// proxyRemedy is the remedy if logs work but streams do not.
const proxyRemedy = betweenRemedy + "must pass on Connection: Upgrade for "

// executor returns a client for exec or attach.
func (r *run) executor(p protocol, to *url.URL) (remotecommand.Executor, error) {
	if p == bySPDY {
		return remotecommand.NewSPDYExecutor(r.config, http.MethodPost, to)
	}
	return remotecommand.NewWebSocketExecutor(r.config, http.MethodGet, to.String())
}

// typed returns the input of a command. It is larger than any single buffer.
var typed = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) })

// nodeOf returns options for a Node that declares a feature. If the feature is empty, the Node declares none.
func nodeOf(verb string, p protocol, feature string) nodeOptions {
	o := nodeOptions{name: verb + "-" + strings.ToLower(string(p))}
	if feature != "" {
		o.name += "-k"
		o.features = []string{feature}
	}
	return o
}

func checkExec(ctx context.Context, r *run, p protocol, feature string) (conformance.Result, error) {
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOf("exec", p, feature)})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	query := url.Values{
		"container": {container},
		"command":   execCommand,
		"stdin":     {"true"},
		"stdout":    {"true"},
		"stderr":    {"true"},
	}
	executor, err := r.executor(p, k.url("exec", query.Encode()))
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{
		fmt.Sprintf("%s with %d bytes of input and %s", strings.Join(execCommand, " "), len(typed()), p),
	}
	// A proxy that closes a connection with unread data resets it, and may lose the end of the stream on a busy
	// machine (UpgradeAwareHandler). The check fails only if the end is lost three times in a row.
	const tries = 3
	var stdout, stderr bytes.Buffer
	var took time.Duration
	for try := 1; ; try++ {
		stdout.Reset()
		stderr.Reset()
		began := time.Now()
		err = executor.StreamWithContext(
			ctx,
			remotecommand.StreamOptions{Stdin: bytes.NewReader(typed()), Stdout: &stdout, Stderr: &stderr},
		)
		took = time.Since(began)
		var ended utilexec.ExitError
		if errors.As(err, &ended) || ctx.Err() != nil || try == tries {
			break
		}
		evidence = append(
			evidence,
			fmt.Sprintf(
				"attempt %d of %d: the end of the stream was lost after %d bytes of output: %v",
				try,
				tries,
				stdout.Len(),
				err,
			),
		)
	}
	for _, request := range requests(k.observed()) {
		evidence = append(evidence, "to the kubelet: "+request.String())
	}
	remedy := proxyRemedy + string(p)
	var exit utilexec.ExitError
	switch {
	case ctx.Err() != nil:
		return fail(
			"exec did not end; perhaps the end of the input did not arrive",
			remedy,
			append(evidence, fmt.Sprintf("%d bytes of output", stdout.Len()))...), nil
	case !errors.As(err, &exit):
		return fail(fmt.Sprintf("exec with %s failed: %v", p, err), remedy, evidence...), nil
	case exit.ExitStatus() != 3:
		return fail(fmt.Sprintf("the exit code is %d instead of 3", exit.ExitStatus()), remedy, evidence...), nil
	case !bytes.Equal(stdout.Bytes(), typed()):
		return fail(
			fmt.Sprintf("the output differs: sent %d bytes, received %d", len(typed()), stdout.Len()),
			remedy,
			evidence...), nil
	case stderr.String() != "said\n":
		return fail(
			fmt.Sprintf("standard error is %q instead of %q", stderr.String(), "said\n"),
			remedy,
			evidence...), nil
	}
	return pass(
		append(
			evidence,
			fmt.Sprintf(
				"the whole output, standard error and exit code 3 came back after the end of the input, in %v",
				took.Round(time.Millisecond),
			),
		)...), nil
}

func checkAttach(ctx context.Context, r *run) (conformance.Result, error) {
	// The container's log has ended, so the output consists only of the echoed input.
	k, err := r.kubelet(
		ctx,
		kubeletOptions{
			node:      nodeOptions{name: "attach"},
			container: scenario.Container{Log: scenario.Log{Text: "started\n"}},
		},
	)
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	var evidence []string
	for _, p := range []protocol{bySPDY, byWebSocket} {
		query := url.Values{"container": {container}, "stdin": {"true"}, "stdout": {"true"}}
		executor, err := r.executor(p, k.url("attach", query.Encode()))
		if err != nil {
			return conformance.Result{}, err
		}
		took, err := attachAndType(ctx, executor, "a line of input\n")
		if err != nil {
			return fail(fmt.Sprintf("attach with %s failed: %v", p, err), proxyRemedy+string(p), evidence...), nil
		}
		evidence = append(
			evidence,
			fmt.Sprintf("with %s: a line came back after %v", p, took.Round(10*time.Microsecond)),
		)
	}
	return pass(evidence...), nil
}

// attachAndType attaches, sends a line, waits until the container echoes it, and disconnects.
func attachAndType(ctx context.Context, executor remotecommand.Executor, text string) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin, typing := io.Pipe()
	screen, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout})
		stdin.Close()
		stdout.CloseWithError(fmt.Errorf("attach ended: %w", orEOF(err)))
		ended <- err
	}()
	began := time.Now()
	go io.WriteString(typing, text)
	shown := make([]byte, len(text))
	_, err := io.ReadFull(screen, shown)
	took := time.Since(began)
	screen.Close()
	typing.Close()
	cancel()
	<-ended
	if err == nil && string(shown) != text {
		err = fmt.Errorf("%q came back for %q", shown, text)
	}
	return took, err
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

func checkPortForward(ctx context.Context, r *run, p protocol, feature string) (conformance.Result, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return conformance.Result{}, err
	}
	defer listener.Close()
	go countAfterEnd(listener)
	k, err := r.kubelet(ctx, kubeletOptions{
		node:      nodeOf("forward", p, feature),
		container: scenario.Container{Ports: []scenario.Port{{Port: 80, Forward: listener.Addr().String()}}},
	})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	began := time.Now()
	message, err := within(
		ctx,
		func() (string, error) { return forwardAndSend(r.config, p, k.url("portforward", ""), 80, typed()) },
	)
	evidence := []string{fmt.Sprintf("%d bytes to port 80 with %s", len(typed()), p)}
	for _, request := range requests(k.observed()) {
		evidence = append(evidence, "to the kubelet: "+request.String())
	}
	if err != nil {
		return fail(fmt.Sprintf("port-forward with %s failed: %v", p, err), proxyRemedy+string(p), evidence...), nil
	}
	if want := strconv.Itoa(len(typed())); message != want {
		return fail(
			fmt.Sprintf("the port received %s of %s bytes", message, want),
			proxyRemedy+string(p),
			evidence...), nil
	}
	return pass(
		append(
			evidence,
			fmt.Sprintf(
				"the port answered after the end of the input, in %v",
				time.Since(began).Round(time.Millisecond),
			),
		)...), nil
}

// countAfterEnd is a server that waits for the end of a client's data and then sends the number of received bytes.
func countAfterEnd(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			n, _ := io.Copy(io.Discard, conn)
			fmt.Fprint(conn, n)
		}()
	}
}

// forwardDialer returns a client for port-forward.
func forwardDialer(config *rest.Config, p protocol, to *url.URL) (httpstream.Dialer, error) {
	if p == byWebSocket {
		return portforward.NewSPDYOverWebsocketDialerForStreaming(to, config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, to), nil
}

// forwardAndSend sends data to a port through port-forward, closes its sending side, and returns the reply.
func forwardAndSend(config *rest.Config, p protocol, to *url.URL, port int, data []byte) (string, error) {
	dialer, err := forwardDialer(config, p, to)
	if err != nil {
		return "", err
	}
	conn, _, err := dialer.Dial("portforward.k8s.io")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	header := http.Header{}
	header.Set(v1.StreamType, v1.StreamTypeError)
	header.Set(v1.PortHeader, strconv.Itoa(port))
	header.Set(v1.PortForwardRequestIDHeader, "0")
	problem, err := conn.CreateStream(header)
	if err != nil {
		return "", err
	}
	problem.Close() // closes the sending side, because clients do not write to the error stream
	header = header.Clone()
	header.Set(v1.StreamType, v1.StreamTypeData)
	stream, err := conn.CreateStream(header)
	if err != nil {
		return "", err
	}
	if _, err := stream.Write(data); err != nil {
		return "", err
	}
	stream.Close()
	logResponse, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	words, err := io.ReadAll(problem)
	if err == nil && len(words) > 0 {
		err = errors.New(string(words))
	}
	return string(logResponse), err
}

// within returns the results of do, or the cause of ctx. If do does not return when ctx is done, it continues in the
// background until the kubelet closes its connection.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
