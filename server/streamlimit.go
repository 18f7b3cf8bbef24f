package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/spdystream/spdy"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

// The streaming libraries do not limit the streams of a SPDY connection, nor the headers of a stream. A stream can take
// 16 KiB, and a client can open thousands of streams per second. limitStreams closes a connection that opens too many.

// forwardLimit is the limit for port-forward. A forwarded connection has two streams.
func forwardLimit(string) streamLimit { return streamLimit{most: 2000} }

// maxWebSocketPorts is how many ports a port-forward over a WebSocket may have. Each has two channels, and the number
// of a channel is a byte. The library would begin to forward any number of ports at once.
const maxWebSocketPorts = 128

// The limits of a stream's headers. A client of exec, attach or port-forward sends up to three short headers.
const (
	maxStreamHeaders      = 16
	maxStreamHeaderField  = 1 << 10  // bytes of a name or value
	maxStreamControlFrame = 16 << 10 // bytes of a compressed frame
)

// streamLimit limits the streams of a SPDY connection.
type streamLimit struct {
	most int
	// If forever is true, streams that have ended count too.
	forever bool
}

// execLimit is the limit for exec and attach: as many streams as the library waits for. The library would never look at
// a further stream, and would keep it after the end of the connection. (k8s.io/cri-streaming, createHTTPStreamStreams)
func execLimit(options *remotecommand.Options) func(protocol string) streamLimit {
	return func(protocol string) streamLimit {
		sizes := options.TTY && // the stream of the terminal's sizes
			(protocol == remotecommand.StreamProtocolV3Name || protocol == remotecommand.StreamProtocolV4Name)
		limit := streamLimit{most: 1, forever: true} // the error stream
		for _, requested := range []bool{options.Stdin, options.Stdout, options.Stderr, sizes} {
			if requested {
				limit.most++
			}
		}
		return limit
	}
}

// upgradesToSPDY reports whether the libraries would upgrade the connection to SPDY. They accept more than the
// protocol's exact name. (k8s.io/streaming/pkg/httpstream/spdy, UpgradeResponse)
func upgradesToSPDY(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Upgrade")), "spdy/3.1")
}

// limitStreams limits the streams of connections that the handler "serve" upgrades to SPDY, and closes the connection
// when the handler has returned. The function "limit" gets the protocol that the handler has negotiated.
func (h *streamHandlers) limitStreams(limit func(protocol string) streamLimit,
	serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if hijacker, ok := w.(http.Hijacker); ok && upgradesToSPDY(r) {
			limited := &limitedWriter{ResponseWriter: w, hijacker: hijacker, limit: limit, errorLog: h.errorLog()}
			defer limited.close()
			w = limited
		}
		serve(w, r)
	}
}

type limitedWriter struct {
	http.ResponseWriter
	hijacker http.Hijacker
	limit    func(protocol string) streamLimit
	errorLog *log.Logger
	conn     *limitedConn // nil before Hijack
}

func (w *limitedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.hijacker.Hijack()
	if err != nil {
		return nil, nil, err
	}
	limit := w.limit(w.Header().Get(httpstream.HeaderProtocolVersion))
	w.conn = newLimitedConn(conn, buffered.Reader, limit, w.errorLog)
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

func (w *limitedWriter) close() {
	if w.conn != nil {
		w.conn.end()
	}
}

// limitedConn is the server's side of a SPDY connection. If the client exceeds the limit, Read closes the connection
// and returns an error, which is logged.
//
// Read reports the end of the connection only after the library has answered all new streams. For a stream that it has
// not answered by then, the library would wait for ever, and keep all streams of the connection. (k8s.io/cri-streaming,
// httpStreamReceived)
type limitedConn struct {
	net.Conn
	from     io.Reader
	limit    streamLimit
	errorLog *log.Logger

	mu         sync.Mutex
	open       map[spdy.StreamId]*limitedStream
	newest     spdy.StreamId
	unanswered int        // the number of streams that the server has not answered
	changed    *sync.Cond // of unanswered and ended
	ended      bool       // Read no longer waits for answers
	in, out    frameScanner
	// The parser reads the client's control frames, one at a time, from "frame". It needs all of them, because the
	// compression of headers depends on the previous headers.
	parser *spdy.Framer
	frame  bytes.Buffer
}

// limitedStream is a stream that counts.
type limitedStream struct {
	answered       bool
	client, server bool      // which side has finished sending
	reset          time.Time // when the client reset the stream, or zero
}

func newLimitedConn(conn net.Conn, from io.Reader, limit streamLimit, errorLog *log.Logger) *limitedConn {
	c := &limitedConn{Conn: conn, from: from, limit: limit, errorLog: errorLog,
		open: map[spdy.StreamId]*limitedStream{}}
	c.changed = sync.NewCond(&c.mu)
	c.in, c.out = frameScanner{most: maxStreamControlFrame, each: c.received}, frameScanner{each: c.sent}
	var err error
	if c.parser, err = spdy.NewFramerWithOptions(io.Discard, &c.frame, spdy.WithMaxHeaderCount(maxStreamHeaders),
		spdy.WithMaxHeaderFieldSize(maxStreamHeaderField)); err != nil {
		panic(err) // impossible: only an invalid level of compression could cause it
	}
	return c
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.unanswered
	if refused := c.in.scan(p[:n]); refused != nil {
		c.errorLog.Printf("closed a connection of exec, attach or port-forward: %v", refused)
		c.Conn.Close()
		n, err, c.unanswered = 0, refused, before // the library does not get these frames
	}
	if n > 0 {
		return n, nil // the next Read returns the error
	}
	timer := time.AfterFunc(answerTimeout, c.end)
	defer timer.Stop()
	for err != nil && c.unanswered > 0 && !c.ended {
		c.changed.Wait()
	}
	return 0, err
}

// answerTimeout limits how long Read waits for answers.
const answerTimeout = 10 * time.Second

// end closes the connection, and ends the wait for answers.
func (c *limitedConn) end() {
	c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.changed.Broadcast()
}

// Write reports success after the end of the connection, too. If the library could not answer a new stream, it would
// wait for ever before it closes or resets this stream. (github.com/moby/spdystream, waitWriteReply, handleResetFrame)
func (c *limitedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	_ = c.out.scan(p) // the method "sent" never fails
	c.mu.Unlock()
	_, _ = c.Conn.Write(p)
	return len(p), nil
}

// received records a frame from the client.
func (c *limitedConn) received(f spdyFrame) error {
	if !f.control() {
		c.finished(f.stream(), f.flags())
		return nil
	}
	c.frame.Reset()
	c.frame.Write(f)
	parsed, err := c.parser.ReadFrame()
	if err != nil {
		return fmt.Errorf("invalid frame, or more than %d headers, or a header of more than %d bytes: %w",
			maxStreamHeaders, maxStreamHeaderField, err)
	}
	if c.frame.Len() > 0 { // the library would read the rest as further frames
		return fmt.Errorf("a control frame has %d surplus bytes", c.frame.Len())
	}
	switch parsed := parsed.(type) {
	case *spdy.SynStreamFrame:
		return c.opened(parsed.StreamId, parsed.CFHeader.Flags)
	case *spdy.HeadersFrame:
		c.finished(parsed.StreamId, f.flags())
	case *spdy.RstStreamFrame:
		if s := c.open[parsed.StreamId]; s != nil {
			s.reset = time.Now()
			c.forget(parsed.StreamId, s)
		}
	}
	return nil
}

// The method "sent" records a frame from the server.
func (c *limitedConn) sent(f spdyFrame) error {
	if f.control() && !slices.Contains([]spdy.ControlFrameType{spdy.TypeSynReply, spdy.TypeRstStream, spdy.TypeHeaders},
		f.kind()) {
		return nil // it is not about a stream
	}
	id := f.stream()
	s := c.open[id]
	if s == nil {
		return nil
	}
	if !s.answered { // the first frame is the answer
		s.answered = true
		c.unanswered--
		c.changed.Broadcast()
	}
	if f.control() && f.kind() == spdy.TypeRstStream {
		s.client, s.server = true, true
	} else if f.flags()&uint8(spdy.DataFlagFin) != 0 {
		s.server = true
	}
	c.forget(id, s)
	return nil
}

// opened records a new stream. It returns an error if there are too many, if the stream is unidirectional, or if its ID
// is not higher than the previous one. The library would start a goroutine for each frame with such an ID.
func (c *limitedConn) opened(id spdy.StreamId, flags spdy.ControlFlags) error {
	if id <= c.newest {
		return fmt.Errorf("a stream has the ID %d after the ID %d", id, c.newest)
	}
	if flags&spdy.ControlFlagUnidirectional != 0 { // the library keeps such streams until the connection ends
		return errors.New("a stream is unidirectional")
	}
	c.newest = id
	s := &limitedStream{client: flags&spdy.ControlFlagFin != 0}
	c.open[id] = s
	c.unanswered++
	if len(c.open) > c.limit.most {
		for id, s := range c.open {
			c.forget(id, s)
		}
	}
	if len(c.open) > c.limit.most {
		return fmt.Errorf("more than %d streams", c.limit.most)
	}
	return nil
}

// finished records that the client has finished sending on a stream, if the flags of a frame say so.
func (c *limitedConn) finished(id spdy.StreamId, flags uint8) {
	if s := c.open[id]; s != nil && flags&uint8(spdy.DataFlagFin) != 0 {
		s.client = true
		c.forget(id, s)
	}
}

// forget deletes a stream that no longer counts because it has ended. If only the client has reset the stream, the
// library still keeps it for some time: until the second stream of the forwarded connection arrives.
func (c *limitedConn) forget(id spdy.StreamId, s *limitedStream) {
	ended := s.server && (s.client || !s.reset.IsZero()) ||
		!s.reset.IsZero() && time.Since(s.reset) > remotecommand.DefaultStreamCreationTimeout
	if ended && !c.limit.forever {
		delete(c.open, id)
		if !s.answered {
			c.unanswered--
		}
	}
}

// frameScanner finds the frames in one direction of a SPDY connection.
type frameScanner struct {
	// The function "each" is called for each frame. It gets the frame's first 12 bytes or, if "most" is not 0, a whole
	// control frame, whose payload may have at most that many bytes.
	each func(spdyFrame) error
	most int

	frame spdyFrame // the beginning of the current frame
	skip  int       // how many bytes of the last frame are still to come
}

func (f *frameScanner) scan(p []byte) error {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(p))
			p, f.skip = p[n:], f.skip-n
			continue
		}
		n := min(f.wanted()-len(f.frame), len(p))
		f.frame, p = append(f.frame, p[:n]...), p[n:]
		if len(f.frame) < spdyHeader {
			continue
		}
		if f.most > 0 && f.frame.control() && f.frame.length() > f.most {
			return fmt.Errorf("a control frame of %d bytes; at most %d are allowed", f.frame.length(), f.most)
		}
		if len(f.frame) < f.wanted() {
			continue
		}
		if err := f.each(f.frame); err != nil {
			return err
		}
		f.skip, f.frame = spdyHeader+f.frame.length()-len(f.frame), f.frame[:0]
	}
	return nil
}

// wanted returns how many bytes of the current frame the function "each" needs.
func (f *frameScanner) wanted() int {
	switch {
	case len(f.frame) < spdyHeader || !f.frame.control():
		return spdyHeader
	case f.most > 0:
		return spdyHeader + f.frame.length()
	}
	return spdyHeader + min(f.frame.length(), 4) // with the ID of the stream
}

// spdyFrame is the beginning of a frame: at least spdyHeader bytes.
// (https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#2-2-framing)
type spdyFrame []byte

const spdyHeader = 8 // bytes

func (f spdyFrame) control() bool { return f[0]&0x80 != 0 }
func (f spdyFrame) flags() uint8  { return f[4] }
func (f spdyFrame) length() int   { return int(binary.BigEndian.Uint32(f[4:]) & 0xffffff) }

func (f spdyFrame) kind() spdy.ControlFrameType {
	return spdy.ControlFrameType(binary.BigEndian.Uint16(f[2:]))
}

// The method "stream" returns the ID of the stream, or 0 if a control frame is too short for one.
func (f spdyFrame) stream() spdy.StreamId {
	at := 0
	if f.control() {
		at = spdyHeader
	}
	if len(f) < at+4 {
		return 0
	}
	return spdy.StreamId(binary.BigEndian.Uint32(f[at:]) & 0x7fffffff)
}
