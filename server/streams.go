package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"

	"fauxlet/internal/oneconn"
	"fauxlet/internal/podcounts"
	"fauxlet/internal/pods"
)

// A kubelet does not implement exec, attach and port-forward itself. It gets a URL from the container runtime and
// proxies the connection to that URL. If a client uses one of the newest WebSocket protocols, the kubelet translates it
// to SPDY. A Server works in the same way, with the same libraries. Its container runtime is part of this process and
// is connected by a socket pair, so the Server opens no additional port. (kubelet: pkg/kubelet/server/server.go,
// getExec, getAttach, getPortForward; container runtimes use k8s.io/cri-streaming)

// streamHandlers serve exec, attach, run and port-forward.
type streamHandlers struct {
	pods *pods.Store
	// The context "draining" is canceled when the Server stops. Streams then end.
	draining    context.Context
	errorLog    func() *log.Logger
	idleTimeout time.Duration
	// If the field "translate" is true, the newest WebSocket protocols are translated to SPDY (feature gate
	// ExtendWebSocketsToKubelet). The metric webSockets counts the translated WebSockets.
	translate  bool
	webSockets *prometheus.CounterVec
	expected   *expectedStreams
}

// getExec runs a command in a container. (kubelet: Server.getExec)
func (h *streamHandlers) getExec(w http.ResponseWriter, r *http.Request) error {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		return statusErrorf(http.StatusBadRequest, "%v", err)
	}
	at, _, err := h.running(r, "container not found (%[1]q)")
	if err != nil {
		return err
	}
	command := r.URL.Query()[v1.ExecCommandParam]
	serve := func(w http.ResponseWriter, r *http.Request) {
		remotecommand.ServeExec(w, r, &runtime{h.pods, at, r.Context()}, "", "", at.container, command, options,
			h.idleTimeout, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	}
	return h.stream(w, r, "exec", options, h.limitStreams(execLimit(options), serve))
}

// getAttach attaches to a running container. (kubelet: Server.getAttach)
func (h *streamHandlers) getAttach(w http.ResponseWriter, r *http.Request) error {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		return statusErrorf(http.StatusBadRequest, "%v", err)
	}
	at, pod, err := h.running(r, "container %[1]s not found in pod %[2]s")
	if err != nil {
		return err
	}
	if at.uid != "" && string(pod.UID) != at.uid {
		return statusErrorf(http.StatusInternalServerError, "pod %s not found", at.fullName())
	}
	// The spec of the container determines whether the session has a terminal, so the client's option TTY is ignored
	// here. Only the translator of WebSockets uses it.
	served := *options
	served.TTY = pods.HasTTY(pod, at.container)
	if served.TTY && served.Stderr {
		// A kubelet receives this error from the container runtime over gRPC, and returns it unchanged.
		return statusErrorf(http.StatusInternalServerError,
			"rpc error: code = InvalidArgument desc = tty and stderr cannot both be true")
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		remotecommand.ServeAttach(w, r, &runtime{h.pods, at, r.Context()}, "", "", at.container, &served,
			h.idleTimeout, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
	}
	return h.stream(w, r, "attach", options, h.limitStreams(execLimit(&served), serve))
}

// The method "running" returns the container that the path of a request names, and its pod. If the container is not
// running, it returns an error. The format of its text is the argument "notRunning". The format's first argument is the
// name of the container, and the second is the name of the pod.
func (h *streamHandlers) running(r *http.Request, notRunning string) (location, *v1.Pod, error) {
	at, pod, err := locate(h.pods, r)
	if err == nil && !h.pods.IsRunning(at.namespace, at.pod, at.container) {
		err = statusErrorf(http.StatusInternalServerError, notRunning, at.container, at.fullName())
	}
	return at, pod, err
}

// getPortForward forwards ports of a pod. (kubelet: Server.getPortForward)
func (h *streamHandlers) getPortForward(w http.ResponseWriter, r *http.Request) error {
	tunnel := h.translate && wsstream.IsWebSocketRequestWithTunnelingProtocol(r)
	options := &portforward.V4Options{}
	if !tunnel {
		var err error
		if options, err = portforward.NewV4Options(r); err != nil {
			return statusErrorf(http.StatusBadRequest, "%v", err)
		}
		if len(options.Ports) > maxWebSocketPorts {
			return statusErrorf(http.StatusBadRequest, "query parameter \"port\": %d ports, at most %d can be "+
				"forwarded", len(options.Ports), maxWebSocketPorts)
		}
	}
	at, pod, err := locate(h.pods, r)
	if err != nil {
		return err
	}
	if at.uid != "" && string(pod.UID) != at.uid {
		return statusErrorf(http.StatusNotFound, "pod not found")
	}
	if !slices.ContainsFunc(h.pods.Running(), func(p *v1.Pod) bool { return p.UID == pod.UID }) {
		return statusErrorf(http.StatusInternalServerError, "pod not found (%q)", at.fullName())
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		portforward.ServePortForward(w, r, &runtime{h.pods, at, r.Context()}, at.pod, "", options,
			h.idleTimeout, remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
	}
	serve = h.limitStreams(forwardLimit, serve)
	return h.proxy(w, r, podcounts.PortForward, serve, func(transport *http.Transport) http.Handler {
		if !tunnel {
			return upgradeHandler(transport)
		}
		h.webSockets.WithLabelValues("portforward").Inc()
		return translator.NewTunnelingHandler(upgradeHandler(transport))
	})
}

// postRun runs the command in the query and returns its output. It does not read the body. As in a kubelet, the output
// has the content type application/json, whatever it contains. (kubelet: Server.getRun)
func (h *streamHandlers) postRun(w http.ResponseWriter, r *http.Request) error {
	at, _, err := h.running(r, "container not found (%[1]q)")
	if err != nil {
		return err
	}
	command := strings.Split(r.URL.Query().Get("cmd"), " ")
	var stdout, stderr limitedBuffer
	began := time.Now()
	err = h.pods.Exec(r.Context(), at.namespace, at.pod, at.container, command,
		pods.Streams{Stdout: &stdout, Stderr: &stderr})
	h.pods.Counts().Operation(podcounts.ExecSync, time.Since(began), err)
	var exit utilexec.ExitError
	switch {
	case errors.As(err, &exit):
		// The text is from k8s.io/cri-client, ExecSync.
		return statusErrorf(http.StatusInternalServerError, "command '%s' exited with %d: %s",
			strings.Join(command, " "), exit.ExitStatus(), stderr.String())
	case err != nil:
		return err
	}
	output := append(stdout.Bytes(), stderr.Bytes()...)
	if output != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(http.StatusOK)
	w.Write(output)
	return nil
}

// maxOutput is the number of bytes of a command's output that a container runtime keeps. (containerd: execSync)
const maxOutput = 16 << 20

// limitedBuffer keeps the first maxOutput bytes and discards the rest.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxOutput-b.Len())])
	return len(p), nil
}

// location is the pod and the container that the path of a request names.
type location struct{ namespace, pod, uid, container string }

// fullName is the kubelet's name for a pod in errors.
func (l *location) fullName() string { return l.pod + "_" + l.namespace }

// locate returns the pod and the container that the path of a request names. It returns an error if the pod does not
// exist, but does not check the container. Callers must use the returned pod: a second look-up may not find it, because
// a pod can be removed at any time.
func locate(store *pods.Store, r *http.Request) (location, *v1.Pod, error) {
	vars := mux.Vars(r)
	at := location{vars["namespace"], vars["pod"], vars["uid"], vars["container"]}
	pod, found := store.Get(at.namespace, at.pod)
	if !found {
		return at, nil, statusErrorf(http.StatusNotFound, "pod does not exist")
	}
	return at, pod, nil
}

// The method "stream" proxies a connection to the container runtime. A WebSocket with version 5 of the protocol is
// translated to SPDY.
func (h *streamHandlers) stream(w http.ResponseWriter, r *http.Request, subresource string,
	options *remotecommand.Options, serve http.HandlerFunc) error {
	operation := podcounts.Exec
	if subresource == "attach" {
		operation = podcounts.Attach
	}
	return h.proxy(w, r, operation, serve, func(transport *http.Transport) http.Handler {
		if !h.translate || !wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
			return upgradeHandler(transport)
		}
		h.webSockets.WithLabelValues(subresource).Inc()
		return translator.NewStreamTranslatorHandler(runtimeURL, transport, 0, translator.Options{
			Stdin: options.Stdin, Stdout: options.Stdout, Stderr: options.Stderr, Tty: options.TTY,
		})
	})
}

// The method "proxy" serves a request with the handler that the function "handler" returns for a transport. That
// transport connects to the container runtime, where the handler "serve" serves the connection. The context of that
// handler ends with the client's connection. The argument "operation" is the runtime operation that a kubelet counts.
func (h *streamHandlers) proxy(w http.ResponseWriter, r *http.Request, operation podcounts.Operation,
	serve http.HandlerFunc, handler func(*http.Transport) http.Handler) error {
	began := time.Now()
	serve, err := h.expected.add(serve)
	h.pods.Counts().Operation(operation, time.Since(began), err)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	transport := h.runtimeTransport(ctx, serve, func(runtime net.Conn) net.Conn {
		if client := connectionOf(r); client != nil {
			return &kubeletEnd{runtime, client.below, cancel}
		}
		return runtime
	})
	serveHijacked(handler(transport), w, withoutCredentials(r.WithContext(ctx)), cancel)
	return nil
}

// runtimeURL has a host name that is never resolved, because runtimeTransport does not dial.
var runtimeURL = &url.URL{Scheme: "http", Host: "runtime", Path: "/"}

// upgradeHandler returns a proxy that upgrades a connection and forwards it to the container runtime.
func upgradeHandler(transport *http.Transport) http.Handler {
	return proxy.NewUpgradeAwareHandler(runtimeURL, transport, false, true, responder{})
}

// runtimeTransport connects to the container runtime in this process over a socket pair. Its connections end when ctx
// is done or the Server stops. Without ctx, the runtime would not notice the end of a connection while it waits until a
// command reads its input. The function "wrap" wraps the kubelet's end of a connection.
func (h *streamHandlers) runtimeTransport(ctx context.Context, serve http.HandlerFunc,
	wrap func(net.Conn) net.Conn) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		kubelet, runtime, err := oneconn.Pair()
		if err != nil {
			return nil, err
		}
		running, end := context.WithCancel(h.draining)
		context.AfterFunc(ctx, end)
		go oneconn.Serve(running, runtime, &http.Server{Handler: serve, ErrorLog: h.errorLog()})
		return wrap(kubelet), nil
	}}
}

// kubeletEnd is the kubelet's end of a connection to the container runtime. While a Write waits until the runtime
// reads, nothing reads from the client. So Write watches the client's connection. If the client has closed it, Write
// calls the function "ended" and returns net.ErrClosed.
type kubeletEnd struct {
	net.Conn
	client net.Conn // the connection below TLS
	ended  func()
}

// stalled is how long a Write waits for the runtime before it looks at the client's connection.
const stalled = 200 * time.Millisecond

func (k *kubeletEnd) Write(p []byte) (written int, err error) {
	for {
		if err := k.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
			return written, err
		}
		n, err := k.Conn.Write(p[written:])
		written += n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		if hasEnded(k.client) {
			k.ended()
			return written, net.ErrClosed
		}
	}
}

// responder writes the response if a connection cannot be proxied. (kubelet: responder)
type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// runtime is the container runtime of one request. It forwards a port until the context of the request is done. It does
// not use the context that k8s.io/cri-streaming passes to PortForward, because that context does not end with the
// client's connection.
type runtime struct {
	pods    *pods.Store
	at      location
	request context.Context
}

func (c *runtime) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out,
	err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return c.pods.Exec(ctx, c.at.namespace, c.at.pod, c.at.container, command, streams(in, out, err, tty, resize))
}

func (c *runtime) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, err io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize) error {
	return c.pods.Attach(ctx, c.at.namespace, c.at.pod, c.at.container, streams(in, out, err, tty, resize))
}

func (c *runtime) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	return c.pods.PortForward(c.request, c.at.namespace, c.at.pod, port, stream)
}

// streams converts the streams of package remotecommand into [pods.Streams].
func streams(in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) pods.Streams {
	s := pods.Streams{Stdin: in, Stdout: out, Stderr: err, TTY: tty}
	if resize != nil {
		// The channel keeps only the newest size, so that the goroutine never blocks. If it blocked, the WebSocket
		// would not be read, so the server would not notice that the client has closed the WebSocket.
		sizes := make(chan pods.Size, 1)
		s.Resize = sizes
		go func() {
			defer close(sizes)
			for size := range resize {
				select {
				case <-sizes:
				default:
				}
				sizes <- pods.Size(size)
			}
		}()
	}
	return s
}

// tokenProtocol matches the WebSocket subprotocol that contains a bearer token. (k8s.io/apiserver, request/websocket)
var tokenProtocol = regexp.MustCompile(`(base64url\.bearer\.authorization\.k8s\.io\.)[^,]*`)

// withoutCredentials returns a copy of a request without its credentials, because the libraries log request headers.
func withoutCredentials(r *http.Request) *http.Request {
	clean := r.Clone(r.Context())
	for i := range clean.Header["Authorization"] { // keep the number of headers, which an error contains
		clean.Header["Authorization"][i] = "removed"
	}
	for i, value := range clean.Header["Sec-Websocket-Protocol"] {
		clean.Header["Sec-Websocket-Protocol"][i] = tokenProtocol.ReplaceAllString(value, "${1}removed")
	}
	return clean
}
