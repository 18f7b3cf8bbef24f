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
	"slices"
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

	"fauxlet/scenario"
)

func streamChecks() []Check {
	return []Check{
		{ID: "streams.exec-spdy", Title: "exec works with SPDY",
			Proves: "A command gets its complete input, and its output, errors and exit code come back, with the " +
				"protocol of kubectl before v1.31.", run: withNode("exec-spdy", checkExec(bySPDY))},
		{ID: "streams.exec-websocket", Title: "exec works with WebSocket", Since: "v1.30",
			Proves: "The same with the protocol of kubectl since v1.31, which kube-apiserver translates for " +
				"the kubelet.", run: withNode("exec-websocket", checkExec(byWebSocket))},
		{ID: "streams.exec-websocket-to-kubelet", Title: "exec works with WebSocket to the kubelet",
			Since: "v1.36", run: withNode("exec-websocket-k", toKubelet(checkExec(byWebSocket)), webSocketsToKubelet),
			Proves: "The same for a Node that declares ExtendWebSocketsToKubelet: its kubelet translates the " +
				"protocol."},
		{ID: "streams.attach", Title: "attach works with SPDY and with WebSocket",
			Proves: "Input reaches the container, and its output comes back at once.",
			run:    withNode("attach", checkAttach)},
		{ID: "streams.port-forward-spdy", Title: "port-forward works with SPDY",
			Proves: "A connection to a port of a pod carries bytes in both directions, and each direction can end " +
				"separately.", run: withNode("forward-spdy", checkPortForward(bySPDY))},
		{ID: "streams.port-forward-websocket", Title: "port-forward works with WebSocket",
			Proves: "The same with the protocol of kubectl since v1.31.", Since: "v1.31",
			run: withNode("forward-websocket", checkPortForward(byWebSocket))},
		{ID: "streams.port-forward-websocket-to-kubelet", Title: "port-forward works with WebSocket to the kubelet",
			Since: "v1.36",
			run:   withNode("forward-websocket-k", toKubelet(checkPortForward(byWebSocket)), webSocketsToKubelet),
			Proves: "The same for a Node that declares ExtendWebSocketsToKubelet: its kubelet translates the " +
				"protocol."},
		{ID: "streams.latency", Title: "a line of a followed log arrives at once",
			Proves: "Nothing between the kubelet and the user buffers lines.", run: withNode("latency", checkLatency),
			remedy: betweenRemedy + "must not buffer streams; with nginx: proxy_buffering off"},
		{ID: "streams.large-log", Title: "a large log arrives completely",
			Proves: "A log of 64 MiB has the same bytes on both sides.", run: withNode("large", checkLargeLog),
			remedy: betweenRemedy + "must not limit the size or the duration of a response"},
		{ID: "streams.words", Title: "the user gets the kubelet's errors",
			Proves: "The user gets the same status for a kubelet's 401, 403, 404 and 500. The evidence has the " +
				"messages.", run: withNode("words", checkWords),
			remedy: betweenRemedy + "must pass on the status and the body of a response"},
		{ID: "streams.cut", Title: "the user's request ends with the connection to the kubelet",
			Proves: "If the connection breaks in the middle of a log, or before the response, the user's request " +
				"ends. The evidence has what the user gets.", run: withHostileKubelet("cut", checkCut),
			remedy: betweenRemedy + "must pass on the end of a connection"},
		{ID: "streams.timeout", Title: "a kubelet may take any time to respond", Flag: "--kubelet-timeout",
			Proves: "This check cannot fail. The evidence has how long kube-apiserver waits for a response; no " +
				"flag limits it in v1.37.", run: withHostileKubelet("timeout", checkTimeout)},
	}
}

// webSocketsToKubelet is a feature that a Node can declare. It means that the Node's kubelet translates WebSockets
// itself. For other Nodes, the kube-apiserver translates WebSockets.
const webSocketsToKubelet = "ExtendWebSocketsToKubelet"

// toKubelet returns a check that calls the given check, and does not apply if the kubelet then got no WebSocket. A
// kube-apiserver translates WebSockets for all Nodes if one of its feature gates is off.
func toKubelet(check func(context.Context, *kubelet, *finding) error) func(context.Context, *kubelet, *finding) error {
	return func(ctx context.Context, k *kubelet, f *finding) error {
		if err := check(ctx, k, f); err != nil || len(f.problems) > 0 {
			return err
		}
		if slices.ContainsFunc(requests(k.states.All()),
			func(r request) bool { return strings.EqualFold(r.upgrade, "websocket") }) {
			return nil
		}
		return notApplicable("kube-apiserver translates WebSockets for all Nodes; its feature gate " +
			webSocketsToKubelet + " or NodeDeclaredFeatures is off")
	}
}

// withNode calls withKubelet for a stand-in kubelet whose Node has the given name and declared features.
func withNode(name string, check func(context.Context, *kubelet, *finding) error, features ...string) runFunc {
	return withKubelet(kubeletOptions{node: nodeOptions{name: name, features: features}}, check)
}

// protocol is a streaming protocol that a client uses.
type protocol string

const (
	bySPDY      protocol = "SPDY"
	byWebSocket protocol = "WebSocket"
)

// The remedies for problems that an intermediate proxy may cause begin with betweenRemedy.
const betweenRemedy = "# a proxy between fauxlet and kube-apiserver, or between kube-apiserver and the nodes, "

// proxyRemedy is the remedy if requests for logs work but streaming requests do not. The caller appends the name of the
// streaming protocol.
const proxyRemedy = betweenRemedy + "must pass on Connection: Upgrade for "

// executor returns a client for exec or attach.
func (n *node) executor(p protocol, verb string, query url.Values) (remotecommand.Executor, error) {
	query.Set("container", container)
	to := n.url(verb, query.Encode())
	if p == bySPDY {
		return remotecommand.NewSPDYExecutor(n.run.config, http.MethodPost, to)
	}
	return remotecommand.NewWebSocketExecutor(n.run.config, http.MethodGet, to.String())
}

// The function "typed" returns the data that a check sends through a stream. The data is larger than any single buffer.
var typed = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) })

func (f *finding) noteRequests(k *kubelet) {
	for _, request := range requests(k.states.All()) {
		f.note("to the kubelet: %s", request.text)
	}
}

// execCommand is the command of the exec checks. It tests all streams and the exit code.
var execCommand = []string{"sh", "-c", "cat; echo said >&2; exit 3"}

// checkExec returns a check that runs a command through exec with the given protocol.
func checkExec(p protocol) func(context.Context, *kubelet, *finding) error {
	return func(ctx context.Context, k *kubelet, f *finding) error {
		f.remedy = proxyRemedy + string(p)
		query := url.Values{"command": execCommand, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
		executor, err := k.executor(p, "exec", query)
		if err != nil {
			return err
		}
		f.note("%s with %d bytes of input and %s", strings.Join(execCommand, " "), len(typed()), p)
		// If kube-apiserver's proxy (UpgradeAwareHandler) closes a connection with unread data, the connection is
		// reset. On a busy machine, the end of the stream may then be lost. So the check tries again, and fails only
		// after three losses.
		const tries = 3
		var stdout, stderr bytes.Buffer
		var took time.Duration
		var exit utilexec.ExitError
		for try := 1; ; try++ {
			stdout.Reset()
			stderr.Reset()
			began := time.Now()
			streams := remotecommand.StreamOptions{Stdin: bytes.NewReader(typed()), Stdout: &stdout, Stderr: &stderr}
			err = executor.StreamWithContext(ctx, streams)
			took = time.Since(began)
			if errors.As(err, &exit) || ctx.Err() != nil || try == tries {
				break
			}
			f.note("attempt %d of %d: the end of the stream was lost after %d bytes of output: %v", try, tries,
				stdout.Len(), err)
		}
		f.noteRequests(k)
		switch {
		case ctx.Err() != nil:
			f.note("%d bytes of output", stdout.Len())
			f.fail("exec did not end; perhaps the end of the input did not arrive")
		case exit == nil:
			f.fail("exec with %s failed: %v", p, err)
		case exit.ExitStatus() != 3:
			f.fail("the exit code is %d instead of 3", exit.ExitStatus())
		case !bytes.Equal(stdout.Bytes(), typed()):
			f.fail("the output differs: sent %d bytes, received %d", len(typed()), stdout.Len())
		case stderr.String() != "said\n":
			f.fail("standard error is %q instead of %q", stderr.String(), "said\n")
		default:
			f.note("the whole output, standard error and exit code 3 came back after the end of the input, in %v",
				took.Round(time.Millisecond))
		}
		return nil
	}
}

func checkAttach(ctx context.Context, k *kubelet, f *finding) error {
	// Attach also sends new lines of the container's log. This log gets no new lines, so the output consists only of
	// the echoed input.
	if err := k.standIn(scenario.Container{Log: scenario.Log{Text: "started\n"}}); err != nil {
		return err
	}
	for _, p := range []protocol{bySPDY, byWebSocket} {
		executor, err := k.executor(p, "attach", url.Values{"stdin": {"true"}, "stdout": {"true"}})
		if err != nil {
			return err
		}
		took, err := attachAndType(ctx, executor, "a line of input\n")
		if err != nil {
			f.remedy = proxyRemedy + string(p)
			return f.fail("attach with %s failed: %v", p, err)
		}
		f.note("with %s: a line came back after %v", p, took.Round(10*time.Microsecond))
	}
	return nil
}

// attachAndType attaches, sends a line, waits until the container echoes it, and disconnects.
func attachAndType(ctx context.Context, executor remotecommand.Executor, text string) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin, typing := io.Pipe()
	screen, stdout := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout})
		if err == nil {
			err = io.EOF
		}
		stdin.Close()
		stdout.CloseWithError(fmt.Errorf("attach ended: %w", err))
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
		err = fmt.Errorf("the container echoed %q instead of %q", shown, text)
	}
	return took, err
}

// checkPortForward returns a check that sends data through port-forward with the given protocol.
func checkPortForward(p protocol) func(context.Context, *kubelet, *finding) error {
	return func(ctx context.Context, k *kubelet, f *finding) error {
		f.remedy = proxyRemedy + string(p)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		go countAfterEnd(listener)
		err = k.standIn(scenario.Container{Ports: []scenario.Port{{Port: 80, Forward: listener.Addr().String()}}})
		if err != nil {
			return err
		}
		began := time.Now()
		message, err := "", error(nil)
		done := make(chan struct{})
		// If ctx is done before port-forward ends, this goroutine continues until the kubelet closes its connection.
		go func() {
			defer close(done)
			message, err = forwardAndSend(k.run.config, p, k.url("portforward", ""), 80, typed())
		}()
		f.note("%d bytes to port 80 with %s", len(typed()), p)
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		f.noteRequests(k)
		switch want := strconv.Itoa(len(typed())); {
		case err != nil:
			f.fail("port-forward with %s failed: %v", p, err)
		case message != want:
			f.fail("the port received %s of %s bytes", message, want)
		default:
			f.note("the port answered after the end of the input, in %v", time.Since(began).Round(time.Millisecond))
		}
		return nil
	}
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

// forwardAndSend sends data to a port through port-forward, closes the sending direction, and returns the reply.
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
