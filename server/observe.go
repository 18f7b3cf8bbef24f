package server

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"

	"fauxlet/authchain"
	"fauxlet/internal/echo"
	"fauxlet/internal/tlserror"
)

// ServeHTTP counts a request, routes it, and records its Decision when the handler has returned. The request
// "OPTIONS *" is neither counted nor routed, but its Decision is recorded.
func (p *port) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Context().Value(portKey{}) != p { // the caller serves Handler on its own listener
		r = r.WithContext(withPort(r.Context(), p))
	}
	connection := connectionOf(r)
	s := p.server
	if connection != nil {
		connection.serving.Add(1)
		defer connection.serving.Add(-1)
		if !connection.requested.Load() {
			connection.requested.Store(true)
			s.limit.requested(connection)
		}
	}
	if isServerOptions(r.Method, r.RequestURI) {
		s.answerServerOptions(w, r)
		return
	}
	series := p.seriesOf(r)
	series.requests.Inc()
	series.inflight.Inc()
	defer series.inflight.Dec()

	decision, r := authchain.NewDecision(r)
	decision.AddAffectedBy(connection.affectedBy()...)
	if s.options.Begin != nil {
		s.options.Begin(decision)
	}
	recorder := &statusRecorder{ResponseWriter: w}
	authorization := r.Header.Get("Authorization") // the authenticator deletes this header
	defer func() {
		if p := recover(); p != nil {
			s.recovered(p, authorization, recorder, decision)
		}
		decision.Duration = time.Since(decision.Time)
		if recorder.status != 0 {
			decision.Status = recorder.status
		}
		series.duration.Observe(decision.Duration.Seconds())
		s.record(decision)
		if recorder.abort {
			panic(http.ErrAbortHandler)
		}
	}()
	p.routes.ServeHTTP(responsewriter.WrapForHTTP1Or2(recorder), r)
	if recorder.status == 0 && decision.Status == 0 {
		recorder.status = http.StatusOK
	}
}

// isServerOptions reports whether a request asks for the options of the whole server. The argument target is the target
// in the request line.
func isServerOptions(method, target string) bool {
	return method == http.MethodOptions && target == "*"
}

// answerServerOptions answers "OPTIONS *" exactly as net/http does in a kubelet, and records its Decision. In a
// kubelet, net/http does not pass this request to a handler, so a kubelet does not authenticate, count or log it.
// (net/http: globalOptionsHandler)
func (s *Server) answerServerOptions(w http.ResponseWriter, r *http.Request) {
	decision, r := authchain.NewDecision(r)
	decision.AddAffectedBy(connectionOf(r).affectedBy()...)
	if s.options.Begin != nil {
		s.options.Begin(decision)
	}
	w.Header().Set("Content-Length", "0")
	if r.ContentLength != 0 {
		io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 4<<10))
	}
	decision.Status, decision.Duration = http.StatusOK, time.Since(decision.Time)
	s.record(decision)
}

// recorder counts, logs and reports the Decisions of a Server.
type recorder struct {
	logger  *zap.Logger
	metrics *metrics
	observe func(*authchain.Decision) // Options.Observe
	limit   *ConnectionLimit          // Options.Connections
}

// recovered ends a request whose handler panicked. If the response has not begun, it responds with status 500. If the
// response has begun, or after a panic with http.ErrAbortHandler, it makes ServeHTTP close the connection. The client
// then does not mistake an incomplete response for a complete one. The value of the panic is not recorded if it repeats
// the credential in the request's header Authorization.
func (s *recorder) recovered(p any, authorization string, recorder *statusRecorder, decision *authchain.Decision) {
	if p != http.ErrAbortHandler {
		text := fmt.Sprint(p)
		for _, secret := range echo.Credentials(authorization) {
			if echo.Repeats(secret, text) {
				text = echo.Removed
			}
		}
		decision.Err = "panic: " + text
		s.logger.Error("a handler panicked; this is a bug of fauxlet", zap.String("panic", text),
			zap.StackSkip("stack", 2))
	}
	if recorder.status != 0 || p == http.ErrAbortHandler {
		recorder.abort = true
		return
	}
	recorder.WriteHeader(http.StatusInternalServerError)
}

// record counts and logs a complete Decision, and passes it to Options.Observe.
func (s *recorder) record(d *authchain.Decision) {
	s.metrics.countDecision(d)
	if level := levelOf(d); s.logger.Core().Enabled(level) {
		fields := fieldsPool.Get().(*[]zap.Field)
		*fields = logFields((*fields)[:0], d)
		s.logger.Log(level, logMessage(d), *fields...)
		fieldsPool.Put(fields)
	}
	if s.observe != nil {
		s.observe(d)
	}
}

func levelOf(d *authchain.Decision) zapcore.Level {
	switch {
	case d.NoRequest != "":
		return zapcore.DebugLevel
	case d.Status >= http.StatusInternalServerError:
		return zapcore.ErrorLevel
	case d.Handshake != "", d.Status == http.StatusUnauthorized, d.Status == http.StatusForbidden:
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

func logMessage(d *authchain.Decision) string {
	switch {
	case d.Handshake != "":
		return "TLS handshake failed: " + d.Handshake
	case d.NoRequest != "":
		return "no request: " + d.NoRequest
	}
	if why := d.Why(); why != "" {
		return why
	}
	if d.TLS == nil {
		return "no authentication (read-only port)"
	}
	if isServerOptions(d.Method, d.Path) && d.Status == http.StatusOK {
		return "no authentication (OPTIONS *)"
	}
	return "no handler for this path"
}

// servingCertificateRemedy is the remedy that is logged when a client refuses the serving certificate. A kubelet's
// self-signed certificate has no IP address, so a kube-apiserver reports "doesn't contain any IP SANs" for it.
const servingCertificateRemedy = "use a serving certificate that is signed by a CA of the client " +
	"(kube-apiserver's --kubelet-certificate-authority) and contains the address that the client connects to, " +
	"unlike a self-signed one: set tlsCertFile and tlsPrivateKeyFile (fauxlet certs server issues a pair), or " +
	"serverTLSBootstrap: true and run kubectl certificate approve"

var fieldsPool = sync.Pool{New: func() any { return new([]zap.Field) }}

func logFields(fields []zap.Field, d *authchain.Decision) []zap.Field {
	request := d.Handshake == "" && d.NoRequest == ""
	if request {
		fields = append(fields, zap.Int("status", d.Status), zap.String("method", d.Method), zap.String("path", d.Path))
	}
	if d.User != nil {
		fields = append(fields, zap.String("user", d.User.GetName()), zap.String("by", string(d.By())),
			zap.Bool("cached", d.Cached()))
	}
	fields = append(fields, zap.String("remote", d.Remote))
	switch tlserror.Recognize(d.Handshake) {
	case "bad certificate", "unknown authority":
		fields = append(fields, zap.String("remedy", servingCertificateRemedy))
	}
	if d.Err != "" {
		fields = append(fields, zap.String("error", d.Err))
	}
	if len(d.AffectedBy) > 0 {
		fields = append(fields, zap.Strings("affectedBy", d.AffectedBy))
	}
	if request {
		fields = append(fields, zap.Duration("took", d.Duration))
	}
	return fields
}

// statusRecorder records the status of a response. It implements responsewriter.UserProvidedDecorator, so that handlers
// can still flush and hijack if the connection's protocol supports it.
type statusRecorder struct {
	http.ResponseWriter
	status int
	abort  bool // the connection must be closed after the response
}

func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader ignores a second status. Handlers send a second status if they fail after the response has begun.
func (r *statusRecorder) WriteHeader(status int) {
	if r.status >= http.StatusOK {
		return
	}
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// errorLog returns the log for an http.Server whose connections are not tracked.
func (s *recorder) errorLog() *log.Logger { return log.New(errorWriter{s, nil}, "", 0) }

// errorWriter records failed handshakes as Decisions, because net/http reports such failures only in its log.
type errorWriter struct {
	recorder    *recorder
	connections *connections // may be nil
}

// handshakeError is the beginning of the line that net/http logs about a failed handshake. In the line it is followed
// by the client's address, a colon and the error.
const handshakeError = "http: TLS handshake error from "

func (w errorWriter) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	if rest, ok := strings.CutPrefix(text, handshakeError); ok {
		if remote, reason, ok := strings.Cut(rest, ": "); ok {
			w.recorder.metrics.handshakes.Inc()
			connection, reason := w.connections.at(remote), tlserror.Explain(reason)
			if connection != nil && connection.surplus.Load() {
				reason = surplusReason
			}
			decision := authchain.FailedHandshake(remote, reason)
			decision.AddAffectedBy(connection.affectedBy()...)
			w.recorder.record(decision)
			return len(line), nil
		}
	}
	w.recorder.logger.Warn(text)
	return len(line), nil
}
