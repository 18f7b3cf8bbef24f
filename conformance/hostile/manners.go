package hostile

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Redirect answers with a redirect, and has everything in it that a client could be made to follow by.
//
// (CVE-2018-1002102: apiservers before v1.14 followed those of a kubelet, with their credential for kubelets.
// CVE-2020-8559: those before v1.18.6 passed them to the user's client, which followed with the user's.)
func Redirect(status int, location string) Behavior {
	return Behavior{
		Name: fmt.Sprintf("redirect-%d", status),
		Does: fmt.Sprintf("answers %d, Location: %s", status, location),
		Must: "not follow it, nor pass it on to a client that asked for an upgrade",
		answer: func(x *exchange) error {
			return x.send(head(status, "Location: "+location, "Refresh: 0; url="+location, "Connection: close", "Content-Type: text/plain", "Content-Length: 6") + "moved\n")
		},
	}
}

// Refuse answers with an error, and goes on to listen on the connection.
//
// (CVE-2018-1002105: apiservers before v1.10.11 then let the user write whatever they liked to it.)
func Refuse(status int) Behavior {
	return Behavior{
		Name: fmt.Sprintf("refuse-%d", status),
		Does: fmt.Sprintf("answers an upgrade with %d and listens for more requests", status),
		Must: "close the connection: none of the user's further requests may go by it",
		answer: func(x *exchange) error {
			return x.send(head(status, "Content-Type: text/plain", "Content-Length: 8") + "refused\n")
		},
	}
}

// NotSwitching answers an upgrade with a status that is neither an error nor an upgrade.
func NotSwitching(status int) Behavior {
	m := Refuse(status)
	m.Name = fmt.Sprintf("not-switching-%d", status)
	m.Does = fmt.Sprintf("answers an upgrade with %d and goes on talking", status)
	m.Must = "tell the user of an error, and close the connection"
	return m
}

// OtherProtocol switches, but to a protocol that nobody asked for, and goes on talking HTTP.
func OtherProtocol() Behavior {
	return Behavior{
		Name: "other-protocol",
		Does: "answers an upgrade with 101 for a protocol that nobody asked for, and goes on talking HTTP",
		Must: "close the connection where it speaks the protocol itself, as for WebSockets that it translates",
		answer: func(x *exchange) error {
			return x.send(head(http.StatusSwitchingProtocols, "Connection: Upgrade", "Upgrade: chat/1.0"))
		},
	}
}

// EndlessHeaders sends header after header, up to limit bytes, and no end of them.
func EndlessHeaders(limit int64) Behavior {
	line := "X-Endless: " + strings.Repeat("x", 1000) + "\r\n"
	return Behavior{
		Name: "endless-headers",
		Does: "sends headers without an end",
		Must: "have enough at some time",
		answer: func(x *exchange) error {
			if err := x.send("HTTP/1.1 200 OK\r\n"); err != nil {
				return err
			}
			return x.flood(line, limit)
		},
	}
}

// EndlessHeader sends one header line without an end, up to limit bytes.
func EndlessHeader(limit int64) Behavior {
	text := strings.Repeat("x", 1000)
	return Behavior{
		Name: "endless-header",
		Does: "sends a header line without an end",
		Must: "have enough at some time",
		answer: func(x *exchange) error {
			if err := x.send("HTTP/1.1 200 OK\r\nX-Endless: "); err != nil {
				return err
			}
			return x.flood(text, limit)
		},
	}
}

// Informational sends interim responses, up to limit bytes, and no final one.
func Informational(limit int64) Behavior {
	interim := head(http.StatusEarlyHints, "Link: </x>; rel=preload", "X-Filler: "+strings.Repeat("x", 900))
	return Behavior{
		Name:   "informational",
		Does:   "sends interim responses (103) without an end",
		Must:   "have enough at some time",
		answer: func(x *exchange) error { return x.flood(interim, limit) },
	}
}

// EndlessBody sends a body with no end, up to limit bytes, for a log or for the words of an error.
func EndlessBody(status int, limit int64) Behavior {
	line := strings.Repeat("endless ", 1023) + "endless\n"
	m := Behavior{
		Name: fmt.Sprintf("endless-body-%d", status),
		Does: fmt.Sprintf("answers %d with a body that has no end", status),
		Must: "stop reading when its client has stopped, and close the connection when the client has gone",
		answer: func(x *exchange) error {
			if err := x.send(head(status, "Content-Type: text/plain", "Transfer-Encoding: chunked")); err != nil {
				return err
			}
			return x.flood(fmt.Sprintf("%x\r\n%s\r\n", len(line), line), limit)
		},
	}
	if status >= http.StatusBadRequest {
		m.Must = "read and pass on no more than a part of it"
	}
	return m
}

// begun is how a log begins that does not end well.
const begun = "line one\n"

// BrokenResponses has the kinds of answers to a request for a log that begin and are then no HTTP, no TLS, or not there.
func BrokenResponses() []Behavior {
	chunked := head(http.StatusOK, "Content-Type: text/plain", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n", len(begun), begun)
	sized := func(size string) string {
		return head(http.StatusOK, "Content-Type: text/plain", "Content-Length: "+size)
	}
	const must = "end the request of its user in bounded time"
	headless := func(m Behavior) Behavior { m.NotHTTP = true; return m }
	say := func(name, does, text string) Behavior {
		return Behavior{Name: name, Does: does, Must: must, answer: func(x *exchange) error {
			if err := x.send(text); err != nil {
				return err
			}
			return errHangUp
		}}
	}
	then := func(name, does string, do func(*exchange)) Behavior {
		return Behavior{Name: name, Does: does, Must: must, answer: func(x *exchange) error {
			if err := x.send(chunked); err != nil {
				return err
			}
			do(x)
			return errHangUp
		}}
	}
	return []Behavior{
		say("bad-chunk", "sends a chunk with a size that is no number", chunked+"zz\r\nline two\n\r\n0\r\n\r\n"),
		say("huge-chunk", "announces a chunk of 2^64 bytes", chunked+"10000000000000000\r\nline two\n"),
		say("chunk-extension", "sends a chunk with a line of 1 MiB before it", chunked+"9;"+strings.Repeat("x", 1<<20)+"\r\nline two\n\r\n0\r\n\r\n"),
		say("short", "announces more of a log than it sends", sized("1000")+begun),
		say("long", "sends more of a log than it announced", sized("9")+begun+"line two\n"),
		say("negative-length", "announces a log of -1 bytes", sized("-1")+begun),
		say("two-lengths", "announces two lengths", sized("9\r\nContent-Length: 18")+begun+"line two\n"),
		headless(say("no-http", "answers in SSH", "SSH-2.0-OpenSSH_10.0\r\n")),
		headless(say("bad-status", "answers with the status -1", "HTTP/1.1 -1 No\r\n\r\n")),
		headless(say("bad-header", "sends a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n")),
		headless(say("nothing", "hangs up without a word", "")),
		then("cut", "closes TCP in the midst of a log, with no end of TLS", func(x *exchange) { raw(x.conn).Close() }),
		then("reset", "resets TCP in the midst of a log", func(x *exchange) {
			tcp := raw(x.conn)
			if wrapper, ok := tcp.(interface{ NetConn() net.Conn }); ok {
				tcp = wrapper.NetConn()
			}
			if tcp, ok := tcp.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			tcp.Close()
		}),
		then("no-tls", "sends bytes in the midst of a log that are no TLS", func(x *exchange) {
			_, _ = raw(x.conn).Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		}),
		then("tls-end", "ends TLS in the midst of a log", func(x *exchange) {
			if secure, ok := x.conn.(*tls.Conn); ok {
				_ = secure.CloseWrite()
			}
		}),
	}
}

// raw is the connection under TLS.
func raw(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// Drip sends a log byte by byte, its headers too.
func Drip(every time.Duration) Behavior {
	return Behavior{
		Name: "drip",
		Does: "sends its answer byte by byte",
		Must: "keep nobody else waiting, and close the connection when the client has gone",
		answer: func(x *exchange) error {
			return x.drip(head(http.StatusOK, "Content-Type: text/plain", "Content-Length: 1000")+strings.Repeat("slowly\n", 142), every)
		},
	}
}

// Silence takes the request and never answers.
func Silence() Behavior {
	return Behavior{
		Name:   "silence",
		Does:   "takes the request and never answers",
		Must:   "keep nobody else waiting, and close the connection when the client has gone",
		answer: func(*exchange) error { return nil },
	}
}

// Page answers with a page for a browser, and with the headers by which a server rules one.
func Page(status int) Behavior {
	return Behavior{
		Name: fmt.Sprintf("page-%d", status),
		Does: "answers with HTML, a cookie, and headers that are for one connection alone",
		Must: "pass on the log as plain text, and none of the headers",
		answer: func(x *exchange) error {
			return x.send(head(status, "Content-Type: text/html", "Set-Cookie: hostile=1; Path=/", "X-Hostile: 1",
				"Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Content-Security-Policy: script-src *",
				"Alt-Svc: h2=\"hostile.invalid:443\"", "Strict-Transport-Security: max-age=0", "Clear-Site-Data: \"*\"",
				"Connection: X-Hostile, close", "Keep-Alive: timeout=1000", "Proxy-Authenticate: Basic", "Trailer: X-Trailer",
				fmt.Sprintf("Content-Length: %d", len(script))) + script)
		},
	}
}

// script is what no browser may run.
const script = "<html><script>alert(document.domain)</script></html>\n"

// Foreign are the headers of [Page] that must not reach a user who asked for a log.
func Foreign() []string {
	return []string{"Set-Cookie", "X-Hostile", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Content-Security-Policy", "Alt-Svc",
		"Clear-Site-Data", "Keep-Alive", "Proxy-Authenticate", "X-Trailer"}
}

func head(status int, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n\r\n", status, http.StatusText(status), strings.Join(headers, "\r\n"))
}
