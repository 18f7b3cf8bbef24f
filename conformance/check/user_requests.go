package check

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/client-go/rest"
)

// userRequest is a request for a log or a stream as a user's client sends it to the kube-apiserver.
type userRequest struct {
	name string
	// verb is the requested subresource of the pod.
	verb, query, method string
	header              http.Header
	// translated means that the kube-apiserver terminates the user's protocol and translates it for the kubelet,
	// instead of proxying bytes.
	translated bool
}

// upgradesEarly reports whether the kube-apiserver accepts the user's upgrade before the kubelet has responded. The
// kube-apiserver then reports errors in the stream.
func (u userRequest) upgradesEarly() bool { return u.translated && u.verb != "portforward" }

// upgradeRequests are the stream requests for a Node that declares no features.
var upgradeRequests = []userRequest{
	{
		name:   "exec by SPDY",
		verb:   "exec",
		query:  execQuery,
		method: http.MethodPost,
		header: spdyHeader("v4.channel.k8s.io"),
	},
	{
		name:       "exec by WebSocket",
		verb:       "exec",
		query:      execQuery,
		method:     http.MethodGet,
		header:     webSocketHeader("v5.channel.k8s.io"),
		translated: true,
	},
	{
		name:   "exec by WebSocket v4",
		verb:   "exec",
		query:  execQuery,
		method: http.MethodGet,
		header: webSocketHeader("v4.channel.k8s.io"),
	},
	{
		name:   "attach by SPDY",
		verb:   "attach",
		query:  "stdout=true&container=" + container,
		method: http.MethodPost,
		header: spdyHeader("v4.channel.k8s.io"),
	},
	{
		name:       "attach by WebSocket",
		verb:       "attach",
		query:      "stdout=true&container=" + container,
		method:     http.MethodGet,
		header:     webSocketHeader("v5.channel.k8s.io"),
		translated: true,
	},
	{
		name:   "port-forward by SPDY",
		verb:   "portforward",
		method: http.MethodPost,
		header: spdyHeader("portforward.k8s.io"),
	},
	{
		name:       "port-forward by WebSocket",
		verb:       "portforward",
		method:     http.MethodGet,
		header:     webSocketHeader("SPDY/3.1+portforward.k8s.io"),
		translated: true,
	},
}

// logRequest requests a log and does not follow it.
var logRequest = userRequest{name: "logs", verb: "log", query: "container=" + container, method: http.MethodGet}

// followRequest requests a log and follows it.
var followRequest = userRequest{
	name:   "followed logs",
	verb:   "log",
	query:  "follow=true&container=" + container,
	method: http.MethodGet,
}

const execQuery = "command=true&stdout=true&container=" + container

func spdyHeader(protocol string) http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {protocol}}
}

func webSocketHeader(protocol string) http.Header {
	return http.Header{
		"Connection":             {"Upgrade"},
		"Upgrade":                {"websocket"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Protocol": {protocol},
	}
}

// url is the URL of a subresource of the Node's pod.
func (n *node) url(verb, query string) *url.URL {
	return n.run.client.CoreV1().RESTClient().Post().Namespace(n.pod.Namespace).Resource("pods").Name(n.pod.Name).
		SubResource(verb).
		URL().
		ResolveReference(&url.URL{RawQuery: query})
}

// rawConn is a connection to the kube-apiserver after one request. It is closed when the context of dial is done.
type rawConn struct {
	net.Conn
	in *bufio.Reader
	// status, header and body are parts of the response. After an upgrade, body is the stream.
	status int
	header http.Header
	body   io.Reader
}

// open sends a request for the Node's pod and reads the head of the response.
func (n *node) open(ctx context.Context, req userRequest) (*rawConn, error) {
	request, err := http.NewRequestWithContext(ctx, req.method, n.url(req.verb, req.query).String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range req.header {
		request.Header[name] = values
	}
	if request.Header.Get("Sec-Websocket-Version") != "" {
		request.Header.Set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16])))
	}
	return n.run.dial(ctx, request)
}

// dial sends a request on a new connection, with the run's credential, and reads the head of the response.
func (r *run) dial(ctx context.Context, request *http.Request) (*rawConn, error) {
	transport, err := rest.TransportFor(r.config)
	if err != nil {
		return nil, err
	}
	credential, err := rest.HTTPWrappersForConfig(r.config, proxy.MirrorRequest)
	if err != nil {
		return nil, err
	}
	mirrored, err := credential.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	conn, err := proxy.DialURL(ctx, request.URL, transport)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	l := &rawConn{Conn: conn, in: bufio.NewReader(conn)}
	if err = mirrored.Request.Write(conn); err == nil {
		err = l.read(request)
	}
	if err != nil {
		conn.Close()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return l, nil
}

func (l *rawConn) read(request *http.Request) error {
	logResponse, err := http.ReadResponse(l.in, request)
	if err != nil {
		return err
	}
	l.status, l.header, l.body = logResponse.StatusCode, logResponse.Header, logResponse.Body
	if l.status == http.StatusSwitchingProtocols {
		l.body = l.in
	}
	return nil
}

// text reads the body until its end, a limit or a timeout. ended reports whether text reached the end of the body.
func (l *rawConn) text(limit int64, within time.Duration) (text string, ended bool) {
	return l.until(l.body, limit, within)
}

// more reads the data after the response, like text.
func (l *rawConn) more(limit int64, within time.Duration) (text string, ended bool) {
	return l.until(l.in, limit, within)
}

func (l *rawConn) until(from io.Reader, limit int64, within time.Duration) (string, bool) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	read, err := io.ReadAll(io.LimitReader(from, limit))
	// net.ErrClosed means that the connection was closed because the context is done.
	return string(read), !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) &&
		int64(len(read)) < limit
}
