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

// road is a request by which a user reaches a kubelet with a stream, as it is on the wire.
type road struct {
	name string
	// verb is the pod's subresource, with the query of a request.
	verb, query, method string
	header              http.Header
	// speaks: the apiserver speaks the protocol itself, and does not only carry it.
	speaks bool
}

// opensFirst says that the user's upgrade is answered before the kubelet has answered its own: what goes wrong then is told
// in the stream.
func (w road) opensFirst() bool { return w.speaks && w.verb != "portforward" }

// roads are all there are to a Node that declares nothing.
var roads = []road{
	{name: "exec by SPDY", verb: "exec", query: execQuery, method: http.MethodPost, header: spdyHeader("v4.channel.k8s.io")},
	{name: "exec by WebSocket", verb: "exec", query: execQuery, method: http.MethodGet, header: webSocketHeader("v5.channel.k8s.io"), speaks: true},
	{name: "exec by an old WebSocket", verb: "exec", query: execQuery, method: http.MethodGet, header: webSocketHeader("v4.channel.k8s.io")},
	{name: "attach by SPDY", verb: "attach", query: "stdout=true&container=" + container, method: http.MethodPost, header: spdyHeader("v4.channel.k8s.io")},
	{name: "attach by WebSocket", verb: "attach", query: "stdout=true&container=" + container, method: http.MethodGet, header: webSocketHeader("v5.channel.k8s.io"), speaks: true},
	{name: "port-forward by SPDY", verb: "portforward", method: http.MethodPost, header: spdyHeader("portforward.k8s.io")},
	{name: "port-forward by WebSocket", verb: "portforward", method: http.MethodGet, header: webSocketHeader("SPDY/3.1+portforward.k8s.io"), speaks: true},
}

// logs is the way to a log, which is no upgrade.
var logs = road{name: "logs", verb: "log", query: "container=" + container, method: http.MethodGet}

// following is logs for a log that is followed.
var following = road{name: "logs that are followed", verb: "log", query: "follow=true&container=" + container, method: http.MethodGet}

const execQuery = "command=true&stdout=true&container=" + container

func spdyHeader(protocol string) http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {protocol}}
}

func webSocketHeader(protocol string) http.Header {
	return http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {protocol}}
}

// url is that of a subresource of the Node's pod.
func (n *node) url(verb, query string) *url.URL {
	return n.run.client.CoreV1().RESTClient().Post().Namespace(n.pod.Namespace).Resource("pods").Name(n.pod.Name).SubResource(verb).
		URL().ResolveReference(&url.URL{RawQuery: query})
}

// line is a connection to the apiserver on which only the check writes. It ends with the context that it was made with.
type line struct {
	net.Conn
	in *bufio.Reader
	// status and header are of the answer to the first request. Where it has a body, that is body.
	status int
	header http.Header
	body   io.Reader
}

// travel takes a road to the Node's pod.
func (n *node) travel(ctx context.Context, way road) (*line, error) {
	request, err := http.NewRequestWithContext(ctx, way.method, n.url(way.verb, way.query).String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range way.header {
		request.Header[name] = values
	}
	if request.Header.Get("Sec-Websocket-Version") != "" {
		request.Header.Set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16])))
	}
	return n.run.dial(ctx, request)
}

// dial sends a request by a connection of its own, with the credential of the run.
func (r *run) dial(ctx context.Context, request *http.Request) (*line, error) {
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
	l := &line{Conn: conn, in: bufio.NewReader(conn)}
	if err = mirrored.Request.Write(conn); err == nil {
		err = l.read(request)
	}
	if err != nil {
		conn.Close()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return l, nil
}

func (l *line) read(request *http.Request) error {
	answer, err := http.ReadResponse(l.in, request)
	if err != nil {
		return err
	}
	l.status, l.header, l.body = answer.StatusCode, answer.Header, answer.Body
	if l.status == http.StatusSwitchingProtocols {
		l.body = l.in
	}
	return nil
}

// text reads the answer's body, or what comes after a switch of protocols, up to a limit, for so long. Ended: there is no
// more of it.
func (l *line) text(limit int64, within time.Duration) (text string, ended bool) {
	return l.until(l.body, limit, within)
}

// more reads what comes after the answer as text does.
func (l *line) more(limit int64, within time.Duration) (text string, ended bool) {
	return l.until(l.in, limit, within)
}

func (l *line) until(from io.Reader, limit int64, within time.Duration) (string, bool) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	read, err := io.ReadAll(io.LimitReader(from, limit))
	// It is closed by us where its context is done first.
	return string(read), !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) && int64(len(read)) < limit
}
