package check

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/client-go/rest"
)

// userRequest is a request that a user's client sends to the kube-apiserver, for a log or a stream.
type userRequest struct {
	name        string
	verb, query string // verb is the requested subresource of the pod, for example exec
	header      http.Header
	// translated means that the kube-apiserver terminates the user's protocol and translates it for the kubelet,
	// instead of passing on bytes unchanged.
	translated bool
}

// upgradesEarly reports whether the kube-apiserver accepts the user's upgrade before the kubelet has responded. In this
// case, the kube-apiserver can report later errors only in the stream.
func (u userRequest) upgradesEarly() bool { return u.translated && u.verb != "portforward" }

// upgradeRequests are the stream requests for a Node that declares no features.
var upgradeRequests = []userRequest{
	{"exec by SPDY", "exec", execQuery, spdyHeader("v4.channel.k8s.io"), false},
	{"exec by WebSocket", "exec", execQuery, webSocketHeader("v5.channel.k8s.io"), true},
	{"exec by WebSocket v4", "exec", execQuery, webSocketHeader("v4.channel.k8s.io"), false},
	{"attach by SPDY", "attach", attachQuery, spdyHeader("v4.channel.k8s.io"), false},
	{"attach by WebSocket", "attach", attachQuery, webSocketHeader("v5.channel.k8s.io"), true},
	{"port-forward by SPDY", "portforward", "", spdyHeader("portforward.k8s.io"), false},
	{"port-forward by WebSocket", "portforward", "", webSocketHeader("SPDY/3.1+portforward.k8s.io"), true},
}

// sampleRequests has the two requests for logs, one request to upgrade to SPDY, and one request to upgrade to
// WebSocket.
var (
	logRequest     = userRequest{name: "logs", verb: "log", query: "container=" + container}
	followRequest  = userRequest{name: "followed logs", verb: "log", query: "follow=true&container=" + container}
	sampleRequests = []userRequest{logRequest, followRequest, upgradeRequests[0], upgradeRequests[1]}
)

const (
	attachQuery = "stdout=true&container=" + container
	execQuery   = "command=true&" + attachQuery
)

// spdyHeader returns the headers of a request to upgrade to SPDY.
func spdyHeader(protocol string) http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {protocol}}
}

// webSocketHeader returns the headers of a request to upgrade to WebSocket.
func webSocketHeader(protocol string) http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Protocol": {protocol}}
}

// isLog reports whether the request is for a log. The other requests are for an upgrade.
func (u userRequest) isLog() bool { return u.verb == logRequest.verb }

// url is the URL of a subresource of the Node's pod.
func (n *node) url(verb, query string) *url.URL {
	to := n.run.client.CoreV1().RESTClient().Post().Namespace(n.pod.Namespace).Resource("pods").Name(n.pod.Name).
		SubResource(verb).URL()
	to.RawQuery = query
	return to
}

// rawConn is a connection to the kube-apiserver on which one request was sent. It is closed when the context that was
// passed to dial is done.
type rawConn struct {
	net.Conn
	in       *bufio.Reader
	response *http.Response
	body     io.Reader // the body of the response or, after an upgrade, the stream
}

// open sends a request for the Node's pod and reads the head of the response.
func (n *node) open(ctx context.Context, req userRequest) (*rawConn, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url(req.verb, req.query).String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, req.header)
	switch request.Header.Get("Upgrade") {
	case "SPDY/3.1":
		request.Method = http.MethodPost
	case "websocket":
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
		l.response, err = http.ReadResponse(l.in, request)
	}
	if err != nil {
		conn.Close()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	l.body = l.response.Body
	if l.response.StatusCode == http.StatusSwitchingProtocols {
		l.body = l.in
	}
	return l, nil
}

// readAll reads to the end of the data, but at most "limit" bytes, and with a time limit. The result "ended" is true if
// readAll reached the end.
func (l *rawConn) readAll(from io.Reader, limit int64, within time.Duration) (text string, ended bool) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	read, err := io.ReadAll(io.LimitReader(from, limit))
	// net.ErrClosed means that the connection was closed because the context is done.
	return string(read), !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) &&
		int64(len(read)) < limit
}

// reply is the response that a user gets to a userRequest.
type reply struct {
	status int // 0 if there was no response
	header http.Header
	text   string // the beginning of the body, at most [part] bytes
	hangs  bool   // the time limit passed before the response ended or reached [part] bytes
	err    error
}

func (l *rawConn) reply(within time.Duration) reply {
	text, ended := l.readAll(l.body, part, within)
	return reply{l.response.StatusCode, l.response.Header, text, !ended && len(text) < part, nil}
}

func (n *node) send(ctx context.Context, req userRequest) reply {
	return n.sendWithin(ctx, req, n.run.soon)
}

func (n *node) sendWithin(ctx context.Context, req userRequest, within time.Duration) reply {
	late := fmt.Errorf("no response from kube-apiserver within %v", within)
	ctx, cancel := context.WithTimeoutCause(ctx, within, late)
	defer cancel()
	l, err := n.open(ctx, req)
	if err != nil {
		return reply{err: err, hangs: ctx.Err() != nil}
	}
	defer l.Close()
	got := l.reply(within)
	got.hangs = got.hangs || ctx.Err() != nil // the end of ctx may have cut the response short
	return got
}

// isSuccess reports whether the response is a success: an upgrade or a 2xx. If the kube-apiserver upgrades before the
// kubelet has responded, the upgrade is a success only if the stream contains a Status with "Success".
func (a reply) isSuccess(req userRequest) bool {
	if a.status == http.StatusSwitchingProtocols && req.upgradesEarly() {
		return strings.Contains(a.text, `"status":"Success"`)
	}
	return a.err == nil && a.status < http.StatusMultipleChoices
}

// get returns a header of the response, or "none".
func (a reply) get(header string) string { return cmp.Or(a.header.Get(header), "none") }

// String returns the response in one line.
func (a reply) String() string {
	if a.err != nil {
		return "an error: " + a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, brief(a.text))
}

// brief shortens the text of a response to one line of evidence. If the text is a Status in JSON, brief keeps only its
// message. It removes all characters that are not printable ASCII.
func brief(text string) string {
	if _, after, ok := strings.Cut(text, `"message":"`); ok {
		if message, _, ok := strings.Cut(after, `","`); ok {
			text = message
		}
	}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text))
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
