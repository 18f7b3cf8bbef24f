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

// toKubelet is the feature that a Node declares whose kubelet translates WebSockets; to another the apiserver does.
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
			ID: "streams.exec-spdy", Title: "exec works by SPDY", Needs: needs, run: exec(bySPDY, ""),
			Proves: "A command gets its input to the end, and gives output, errors and exit code back, by the protocol of kubectl before v1.31.",
		},
		{
			ID: "streams.exec-websocket", Title: "exec works by WebSocket", Needs: needs, run: exec(byWebSocket, ""),
			Proves: "The same by the protocol of kubectl today, which kube-apiserver translates for the kubelet.",
		},
		{
			ID: "streams.exec-websocket-to-kubelet", Title: "exec works by WebSocket to the kubelet itself", Needs: needs, run: exec(byWebSocket, toKubelet),
			Proves: "The same to a Node that declares that its kubelet translates.",
		},
		{
			ID: "streams.attach", Title: "attach works by SPDY and by WebSocket", Needs: needs, run: checkAttach,
			Proves: "What is typed reaches the container, and what it writes comes back at once.",
		},
		{
			ID: "streams.port-forward-spdy", Title: "port-forward works by SPDY", Needs: needs, run: forward(bySPDY, ""),
			Proves: "A connection to a port of a pod carries bytes both ways, and the end of one direction by itself.",
		},
		{
			ID: "streams.port-forward-websocket", Title: "port-forward works by WebSocket", Needs: needs, run: forward(byWebSocket, ""),
			Proves: "The same by the protocol of kubectl today.",
		},
		{
			ID: "streams.port-forward-websocket-to-kubelet", Title: "port-forward works by WebSocket to the kubelet itself", Needs: needs, run: forward(byWebSocket, toKubelet),
			Proves: "The same to a Node that declares that its kubelet translates.",
		},
		{
			ID: "streams.latency", Title: "a line of a followed log comes at once", Needs: needs, run: checkLatency,
			Proves: "Nothing between the kubelet and the user keeps lines back until there are more.",
		},
		{
			ID: "streams.large-log", Title: "a large log comes whole", Needs: needs, run: checkLargeLog,
			Proves: "64 MiB of a log are the same bytes at both ends.",
		},
		{
			ID: "streams.words", Title: "the user sees what the kubelet says", Needs: needs, run: checkWords,
			Proves: "401, 403, 404 and 500 of a kubelet are that for the user; the evidence has the words.",
		},
		{
			ID: "streams.cut", Title: "the user's request ends when the connection to the kubelet does", Needs: needs, run: checkCut,
			Proves: "A connection that is cut in the midst of a log, or before any answer, keeps nobody waiting; the evidence has what the user sees.",
		},
		{
			ID: "streams.timeout", Title: "how long a kubelet is waited for that does not answer", Flag: "--kubelet-timeout", Needs: needs, run: checkTimeout,
			Proves: "Nothing that could fail: the evidence has how long kube-apiserver waits, which no flag bounds in v1.37.",
		},
	}
}

// protocol is what a client streams by.
type protocol string

const (
	bySPDY      protocol = "SPDY"
	byWebSocket protocol = "WebSocket"
)

// proxies is a remedy for streams that do not work while logs do.
const proxies = "# what is between fauxlet and kube-apiserver, or between it and the nodes, must let through: Connection: Upgrade, for "

// executor is a client of exec or attach.
func (r *run) executor(p protocol, to *url.URL) (remotecommand.Executor, error) {
	if p == bySPDY {
		return remotecommand.NewSPDYExecutor(r.config, http.MethodPost, to)
	}
	return remotecommand.NewWebSocketExecutor(r.config, http.MethodGet, to.String())
}

// typed is what a command gets: more than fits into any one buffer.
var typed = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) })

// nodeOf is a Node for a protocol, that declares a feature unless that is empty.
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
	query := url.Values{"container": {container}, "command": execCommand, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
	executor, err := r.executor(p, k.url("exec", query.Encode()))
	if err != nil {
		return conformance.Result{}, err
	}
	evidence := []string{fmt.Sprintf("%s of %d bytes of input, by %s", strings.Join(execCommand, " "), len(typed()), p)}
	// Proxies that close a connection with something unread reset it, and the end of what they pass on is lost now and then,
	// on a busy machine: one that does it three times in a row does not let it through. (UpgradeAwareHandler)
	const tries = 3
	var stdout, stderr bytes.Buffer
	var took time.Duration
	for try := 1; ; try++ {
		stdout.Reset()
		stderr.Reset()
		began := time.Now()
		err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: bytes.NewReader(typed()), Stdout: &stdout, Stderr: &stderr})
		took = time.Since(began)
		var ended utilexec.ExitError
		if errors.As(err, &ended) || ctx.Err() != nil || try == tries {
			break
		}
		evidence = append(evidence, fmt.Sprintf("try %d of %d: the end was lost, after %d bytes of output: %v", try, tries, stdout.Len(), err))
	}
	for _, request := range requests(k.seen()) {
		evidence = append(evidence, "to the kubelet: "+request.String())
	}
	remedy := proxies + string(p)
	var exit utilexec.ExitError
	switch {
	case ctx.Err() != nil:
		return fail("exec did not end; half of the output came, or the end of the input did not arrive", remedy, append(evidence, fmt.Sprintf("%d bytes of output", stdout.Len()))...), nil
	case !errors.As(err, &exit):
		return fail(fmt.Sprintf("exec by %s did not work: %v", p, err), remedy, evidence...), nil
	case exit.ExitStatus() != 3:
		return fail(fmt.Sprintf("the exit code is %d, and was 3", exit.ExitStatus()), remedy, evidence...), nil
	case !bytes.Equal(stdout.Bytes(), typed()):
		return fail(fmt.Sprintf("of %d bytes of output %d came, or others", len(typed()), stdout.Len()), remedy, evidence...), nil
	case stderr.String() != "said\n":
		return fail(fmt.Sprintf("standard error is %q, and was %q", stderr.String(), "said\n"), remedy, evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("all of it came back after the input had ended, with standard error and exit code 3, in %v", took.Round(time.Millisecond)))...), nil
}

func checkAttach(ctx context.Context, r *run) (conformance.Result, error) {
	// Its log has ended: only what is typed comes back.
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "attach"}, container: scenario.Container{Log: scenario.Log{Text: "started\n"}}})
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
		took, err := attachAndType(ctx, executor, "is anybody there?\n")
		if err != nil {
			return fail(fmt.Sprintf("attach by %s did not work: %v", p, err), proxies+string(p), evidence...), nil
		}
		evidence = append(evidence, fmt.Sprintf("by %s: a line came back after %v", p, took.Round(10*time.Microsecond)))
	}
	return pass(evidence...), nil
}

// attachAndType sends a line and waits for it to come back, then goes.
func attachAndType(ctx context.Context, executor remotecommand.Executor, text string) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin, typing := io.Pipe()
	screen, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout})
		stdin.Close()
		stdout.CloseWithError(fmt.Errorf("attach has ended: %w", orEOF(err)))
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
	said, err := within(ctx, func() (string, error) { return forwardAndSend(r.config, p, k.url("portforward", ""), 80, typed()) })
	evidence := []string{fmt.Sprintf("%d bytes to port 80, by %s", len(typed()), p)}
	for _, request := range requests(k.seen()) {
		evidence = append(evidence, "to the kubelet: "+request.String())
	}
	if err != nil {
		return fail(fmt.Sprintf("port-forward by %s did not work: %v", p, err), proxies+string(p), evidence...), nil
	}
	if want := strconv.Itoa(len(typed())); said != want {
		return fail(fmt.Sprintf("the port got %s bytes, of %s", said, want), proxies+string(p), evidence...), nil
	}
	return pass(append(evidence, fmt.Sprintf("after the end of what was sent the port still answered, in %v", time.Since(began).Round(time.Millisecond)))...), nil
}

// countAfterEnd is a server that says how many bytes it got, once there are no more.
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

// forwardDialer is a client of port-forward.
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

// forwardAndSend sends to a port, ends that direction, and gives what comes back.
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
	problem.Close() // nothing is written to it
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
	answer, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	words, err := io.ReadAll(problem)
	if err == nil && len(words) > 0 {
		err = errors.New(string(words))
	}
	return string(answer), err
}

// within gives what do gives, or ctx's error. What knows no context goes on by itself, until its connection ends with
// the kubelet's.
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
