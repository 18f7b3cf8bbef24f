package hostile

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// sends returns a behavior that sends the given text and then reads further requests from the connection.
func sends(name, action, text string) Behavior { return floods(name, action, text, "", 0) }

// floods returns a behavior that sends the text "begin" once, and then sends the argument "text" again and again, until
// it has sent at least "limit" bytes of it.
func floods(name, action, begin, text string, limit int64) Behavior {
	return Behavior{Name: name, Action: action, respond: func(x *exchange) error {
		err := x.send(begin)
		for sent := int64(0); sent < limit && err == nil; sent += int64(len(text)) {
			err = x.send(text)
		}
		return err
	}}
}

// Redirect answers with a redirect to a target, in every header that a client might follow. The client must not
// follow the redirect, and must not pass it on to a user who requested an upgrade.
//
// CVE-2018-1002102: kube-apiserver before v1.14 followed a kubelet's redirect with its own credential for kubelets.
// CVE-2020-8559: kube-apiserver before v1.18.6 passed the redirect on to a user's client, which followed the redirect
// with the user's credential.
func Redirect(status int, target, location string) Behavior {
	return sends(fmt.Sprintf("redirect-%d", status), fmt.Sprintf("redirects (%d) to %s", status, target),
		head(status, "Location: "+location, "Refresh: 0; url="+location, "Connection: close",
			"Content-Type: text/plain", "Content-Length: 6")+"moved\n")
}

// Refuse answers an upgrade with an error status and then reads more requests. The client must close the connection,
// so that the user cannot send requests over it.
//
// CVE-2018-1002105: kube-apiserver before v1.10.11 let the user write to the refused connection.
func Refuse(status int) Behavior {
	return sends(fmt.Sprintf("refuse-%d", status),
		fmt.Sprintf("answers an upgrade with %d and listens for more requests", status),
		head(status, "Content-Type: text/plain", "Content-Length: 8")+"refused\n")
}

// NotSwitching answers an upgrade with a status that is neither an error nor 101. The client must report an error to
// the user and close the connection.
func NotSwitching(status int) Behavior {
	b := Refuse(status)
	b.Name = fmt.Sprintf("not-switching-%d", status)
	b.Action = fmt.Sprintf("answers an upgrade with %d and keeps the connection open", status)
	return b
}

// OtherProtocol answers an upgrade with 101 for a protocol that was not requested, and continues in HTTP. A client
// that speaks the requested protocol itself must close the connection. A kube-apiserver that translates WebSockets
// is such a client.
func OtherProtocol() Behavior {
	return sends("other-protocol",
		"answers an upgrade with 101 for a protocol that was not requested, and continues in HTTP",
		head(http.StatusSwitchingProtocols, "Connection: Upgrade", "Upgrade: chat/1.0"))
}

// EndlessHeaders sends one header line after another, up to limit bytes in all. The client must stop reading.
func EndlessHeaders(limit int64) Behavior {
	return floods("endless-headers", "sends endless headers", "HTTP/1.1 200 OK\r\n",
		strings.Repeat("X-Endless: "+strings.Repeat("x", 1000)+"\r\n", 16), limit)
}

// EndlessHeader sends a header line that does not end, up to limit bytes. The client must stop reading.
func EndlessHeader(limit int64) Behavior {
	return floods("endless-header", "sends an endless header line", "HTTP/1.1 200 OK\r\nX-Endless: ",
		strings.Repeat("x", 16<<10), limit)
}

// Informational sends one interim response (103) after another, up to limit bytes in all. The client must stop reading.
func Informational(limit int64) Behavior {
	interim := head(http.StatusEarlyHints, "Link: </x>; rel=preload", "X-Filler: "+strings.Repeat("x", 900))
	return floods("informational", "sends endless interim responses (103)", "", strings.Repeat(interim, 16), limit)
}

// EndlessBody sends a body that does not end, up to limit bytes. If the response is a log, the client must not read
// more than its user reads, and must close the connection when the user leaves. If the response is an error, the client
// must read only a limited part.
func EndlessBody(status int, limit int64) Behavior {
	line := strings.Repeat("endless ", 1023) + "endless\n"
	return floods(fmt.Sprintf("endless-body-%d", status), fmt.Sprintf("answers %d with an endless message", status),
		head(status, "Content-Type: text/plain", "Transfer-Encoding: chunked"), chunk(line), limit)
}

// firstLine is the first line of each log that [BrokenResponses] sends.
const firstLine = "line one\n"

// BrokenResponses returns behaviors that answer a request for a log with a broken response: the response is not valid
// HTTP or not valid TLS, or it ends too early. They need a TLS connection. The client must end its user's request in
// bounded time.
func BrokenResponses() []Behavior {
	chunked := head(http.StatusOK, "Content-Type: text/plain", "Transfer-Encoding: chunked") + chunk(firstLine)
	sized := func(size string) string {
		return head(http.StatusOK, "Content-Type: text/plain", "Content-Length: "+size)
	}
	text := func(name, action, text string) Behavior {
		return Behavior{Name: name, Action: action, respond: func(x *exchange) error {
			return cmp.Or(x.send(text), errHangUp)
		}}
	}
	notHTTP := func(name, action, sent string) Behavior {
		b := text(name, action, sent)
		b.NotHTTP = true
		return b
	}
	// after returns a behavior that sends the beginning of a log, then calls the function "do", and then closes the
	// connection.
	after := func(name, action string, do func(secure *tls.Conn, tcp net.Conn)) Behavior {
		return Behavior{Name: name, Action: action, respond: func(x *exchange) error {
			if err := x.send(chunked); err != nil {
				return err
			}
			secure := x.conn.(*tls.Conn)
			do(secure, secure.NetConn())
			return errHangUp
		}}
	}
	return []Behavior{
		text("bad-chunk", "sends a chunk whose size is not a number", chunked+"zz\r\nline two\n\r\n0\r\n\r\n"),
		text("huge-chunk", "announces a chunk of 2^64 bytes", chunked+"10000000000000000\r\nline two\n"),
		text("chunk-extension", "sends a chunk with an extension of 1 MiB",
			chunked+"9;"+strings.Repeat("x", 1<<20)+"\r\nline two\n\r\n0\r\n\r\n"),
		text("short", "sends less of a log than it announced", sized("1000")+firstLine),
		text("long", "sends more of a log than it announced", sized("9")+firstLine+"line two\n"),
		text("negative-length", "announces a log of -1 bytes", sized("-1")+firstLine),
		text("two-lengths", "announces two lengths", sized("9\r\nContent-Length: 18")+firstLine+"line two\n"),
		notHTTP("no-http", "answers in SSH", "SSH-2.0-OpenSSH_10.0\r\n"),
		notHTTP("bad-status", "answers with the status -1", "HTTP/1.1 -1 No\r\n\r\n"),
		notHTTP("bad-header", "sends a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n"),
		notHTTP("nothing", "closes the connection without a response", ""),
		after("cut", "closes TCP in the middle of a log without closing TLS", func(_ *tls.Conn, tcp net.Conn) {
			tcp.Close()
		}),
		after("reset", "resets TCP in the middle of a log", func(_ *tls.Conn, tcp net.Conn) {
			socket := tcp
			if wrapper, ok := tcp.(interface{ NetConn() net.Conn }); ok {
				socket = wrapper.NetConn()
			}
			_ = socket.(*net.TCPConn).SetLinger(0)
			tcp.Close()
		}),
		after("no-tls", "sends bytes that are not TLS in the middle of a log", func(_ *tls.Conn, tcp net.Conn) {
			_, _ = io.WriteString(tcp, "HTTP/1.1 200 OK\r\n\r\n")
		}),
		after("tls-end", "closes TLS in the middle of a log", func(secure *tls.Conn, _ net.Conn) {
			_ = secure.CloseWrite()
		}),
	}
}

// Drip sends a response byte by byte, including its headers. The client must serve other users during the response,
// and close the connection when its user leaves.
func Drip(every time.Duration) Behavior {
	text := head(http.StatusOK, "Content-Type: text/plain", "Content-Length: 1000") + strings.Repeat("slowly\n", 142)
	return Behavior{Name: "drip", Action: "sends its response byte by byte", respond: func(x *exchange) error {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for i := range len(text) {
			select {
			case <-ticker.C:
			case <-x.gone:
				return net.ErrClosed
			}
			if err := x.send(text[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Silence accepts the request and never responds. The client must serve other users while it waits, and close the
// connection when its user leaves.
func Silence() Behavior { return sends("silence", "accepts the request and never responds", "") }

// Page answers with HTML, a cookie, and other headers that control a browser. If the response is a log, the client must
// pass on its body as plain text, and must not pass on any of these headers.
func Page(status int) Behavior {
	return sends(fmt.Sprintf("page-%d", status), "answers with HTML, a cookie, and hop-by-hop headers",
		head(status, append(pageHeaders, "Content-Type: text/html", "Strict-Transport-Security: max-age=0",
			"Connection: X-Hostile, close", "Trailer: X-Trailer",
			fmt.Sprintf("Content-Length: %d", len(script)))...)+script)
}

// script is an HTML page with a script that must never run in a user's browser.
const script = "<html><script>alert(document.domain)</script></html>\n"

// pageHeaders are the headers of [Page] that must not reach a user who reads a log.
var pageHeaders = []string{
	"Set-Cookie: hostile=1; Path=/", "X-Hostile: 1", "Access-Control-Allow-Origin: *",
	"Access-Control-Allow-Credentials: true", "Content-Security-Policy: script-src *",
	"Alt-Svc: h2=\"hostile.invalid:443\"", "Clear-Site-Data: \"*\"", "Keep-Alive: timeout=1000",
	"Proxy-Authenticate: Basic",
}

// PageHeaders returns the names of the headers of [Page] that must not reach a user who reads a log.
func PageHeaders() []string {
	names := []string{"X-Trailer"}
	for _, header := range pageHeaders {
		name, _, _ := strings.Cut(header, ":")
		names = append(names, name)
	}
	return names
}

func head(status int, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n\r\n", status, http.StatusText(status), strings.Join(headers, "\r\n"))
}

// chunk returns one chunk of the chunked transfer encoding.
func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
