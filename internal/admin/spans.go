package admin

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"
	"k8s.io/component-base/tracing"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"fauxlet/authchain"
)

// Spans sends Decisions as OpenTelemetry spans, by the library and the configuration of a kubelet: a span for each request,
// as a part of its client's trace, with one for each step of authentication and each question to the authorizer in it.
type Spans struct {
	follower *Follower
	provider tracing.TracerProvider
	tracer   oteltrace.Tracer
}

// spansTimeout is how long what was not sent yet may take at the end.
const spansTimeout = 2 * time.Second

// NewSpans makes Spans of what a Recorder records from now on. They go to the endpoint of a kubelet's `tracing`, in the clear,
// and are a part of them, as its samplingRatePerMillion says, and those of clients that have them sampled. Host is the
// machine's name. The endpoint need not be there: what it does not take is dropped. Run must be called. (kubelet: cmd/kubelet/app/server.go,
// newTracerProvider)
func NewSpans(ctx context.Context, r *Recorder, c *tracingapi.TracingConfiguration, host string) (*Spans, error) {
	resource := sdkresource.WithAttributes(semconv.ServiceName("kubelet"), semconv.HostName(host))
	provider, err := tracing.NewProvider(ctx, c, nil, []sdkresource.Option{resource})
	if err != nil {
		return nil, err
	}
	return &Spans{follower: r.Follow(r.last.Load()), provider: provider, tracer: provider.Tracer("fauxlet/trace")}, nil
}

// Run sends spans until ctx is done, and then what was recorded and is not sent yet, for 2 s; the error is that this was too
// short. No request waits for it: it follows the Recorder, as others do.
func (s *Spans) Run(ctx context.Context) error {
	defer s.follower.Close()
	for {
		entries, _, err := s.follower.Next(ctx)
		if err != nil {
			break
		}
		for _, e := range entries {
			s.send(e)
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), spansTimeout)
	defer cancel()
	return s.provider.Shutdown(ending)
}

func (s *Spans) send(e *Entry) {
	d := e.Decision
	ctx, span := s.tracer.Start(parentOf(d), nameOf(d), oteltrace.WithTimestamp(d.Time), oteltrace.WithSpanKind(oteltrace.SpanKindServer))
	if !span.IsRecording() {
		return
	}
	defer span.End(oteltrace.WithTimestamp(d.Time.Add(d.Duration)))
	span.SetAttributes(attributesOf(e)...)
	if failed := d.Handshake; failed != "" {
		span.SetStatus(codes.Error, failed)
	} else if d.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, d.Err)
	}
	for i := range d.Authentication {
		step := &d.Authentication[i]
		s.part(ctx, d, "authenticate "+string(step.Method), step.Start, step.Duration, step.Outcome == authchain.OutcomeError, given(
			attribute.String("fauxlet.outcome", string(step.Outcome)), attribute.String("fauxlet.reason", step.Reason),
			attribute.String("fauxlet.token", step.Token), attribute.Bool("fauxlet.cached", step.Cached)))
	}
	for i := range d.Authorization {
		q := &d.Authorization[i]
		s.part(ctx, d, "authorize "+q.Resource+"/"+q.Subresource, q.Start, q.Duration, q.Result == authchain.CheckError, given(
			attribute.String("fauxlet.verb", q.Verb), attribute.String("fauxlet.result", string(q.Result)), attribute.String("fauxlet.reason", q.Reason),
			attribute.Int("fauxlet.reviews", q.Reviews), attribute.Bool("fauxlet.cached", q.Cached)))
	}
}

// part is a span within that of a request.
func (s *Spans) part(ctx context.Context, d *authchain.Decision, name string, start, took time.Duration, failed bool, attributes []attribute.KeyValue) {
	began := d.Time.Add(start)
	_, span := s.tracer.Start(ctx, name, oteltrace.WithTimestamp(began), oteltrace.WithAttributes(attributes...))
	if failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(oteltrace.WithTimestamp(began.Add(took)))
}

// parentOf has the span of the client. On the read-only port a kubelet does not believe in it.
func parentOf(d *authchain.Decision) context.Context {
	if d.Traceparent == "" || d.TLS == nil {
		return context.Background()
	}
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": d.Traceparent})
}

// nameOf is the same for all requests of a method for a part of the API.
func nameOf(d *authchain.Decision) string {
	switch {
	case d.Handshake != "":
		return "TLS handshake"
	case d.NoRequest != "":
		return "connection without a request"
	}
	root, _, _ := strings.Cut(strings.TrimPrefix(d.Path, "/"), "/")
	return d.Method + " /" + root
}

// attributesOf are the facts of a Decision, by OpenTelemetry's names where it has some.
func attributesOf(e *Entry) []attribute.KeyValue {
	d := e.Decision
	attributes := []attribute.KeyValue{
		semconv.K8SNodeName(e.Node),
		semconv.HTTPRequestMethodKey.String(d.Method),
		semconv.URLPath(d.Path),
		attribute.String("fauxlet.outcome", d.Outcome()),
		attribute.String("fauxlet.by", string(d.By())),
		attribute.Bool("fauxlet.cached", d.Cached()),
		attribute.String("fauxlet.why", d.Why()),
		attribute.String("fauxlet.error", d.Err),
		attribute.String("fauxlet.no_request", d.NoRequest),
	}
	if d.Status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(d.Status))
	}
	if len(d.AffectedBy) > 0 {
		attributes = append(attributes, attribute.StringSlice("fauxlet.affected_by", d.AffectedBy))
	}
	if d.User != nil {
		attributes = append(attributes, semconv.UserName(d.User.GetName()), attribute.StringSlice("user.roles", d.User.GetGroups()))
	}
	if host, port, err := net.SplitHostPort(d.Remote); err == nil {
		attributes = append(attributes, semconv.NetworkPeerAddress(host))
		if n, err := strconv.Atoi(port); err == nil {
			attributes = append(attributes, semconv.NetworkPeerPort(n))
		}
	}
	if c := d.Report().Connection; c != nil {
		attributes = append(attributes, semconv.TLSProtocolNameTLS, semconv.TLSProtocolVersion(strings.TrimPrefix(c.Version, "TLS ")), semconv.TLSCipher(c.CipherSuite))
		if c.Certificate != nil {
			attributes = append(attributes, semconv.TLSClientSubject(c.Certificate.Subject), semconv.TLSClientIssuer(c.Certificate.Issuer))
		}
	}
	return given(attributes...)
}

// given leaves out those without a value.
func given(attributes ...attribute.KeyValue) []attribute.KeyValue {
	all := attributes[:0]
	for _, a := range attributes {
		if a.Value.AsString() != "" || a.Value.Type() != attribute.STRING {
			all = append(all, a)
		}
	}
	return all
}
