package decisions

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"fauxlet/authchain"
)

// Spans exports Decisions as OpenTelemetry spans, with the kubelet's libraries and configuration. Each request is a
// span in the trace of its client. This span has a child span for each authentication step and each authorization check.
type Spans struct {
	follower *Follower
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
	warning  string
}

// spansTimeout limits the export of the remaining spans when Run ends.
const spansTimeout = 2 * time.Second

// NewSpans returns Spans for the Decisions that r records from now on. The caller must call Run. The configuration and
// environment variables select the collector, see newExporter. As in the kubelet, samplingRatePerMillion sets the share
// of requests that are exported. A request to the secure port is always exported if the client has set the sampling
// flag. If the collector does not accept spans, they are lost. The argument "host" is the name of the machine.
// (k8s.io/kubernetes: newTracerProvider in cmd/kubelet/app/server.go; NewProvider in k8s.io/component-base/tracing)
func NewSpans(ctx context.Context, r *Recorder, c *tracingapi.TracingConfiguration, host string) (*Spans, error) {
	exporter, warning, err := newExporter(ctx, c)
	if err != nil {
		return nil, err
	}
	resource, err := sdkresource.New(ctx,
		sdkresource.WithAttributes(semconv.ServiceName("kubelet"), semconv.HostName(host)))
	if err != nil {
		return nil, err
	}
	sampler := sdktrace.NeverSample()
	if c.SamplingRatePerMillion != nil {
		sampler = sdktrace.TraceIDRatioBased(float64(*c.SamplingRatePerMillion) / 1_000_000)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sampler)),
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(resource))
	return &Spans{follower: r.Follow(r.LastID()), provider: provider, tracer: provider.Tracer("fauxlet/decisions"),
		warning: warning}, nil
}

// Warning returns a text for the log if headers for the collector, which often contain a token, are sent without TLS.
// It is empty otherwise.
func (s *Spans) Warning() string { return s.warning }

// Run exports spans until ctx is done. It then exports the Decisions that are already recorded, for at most 2 s, and
// returns an error if this time is too short. Run reads Decisions from the Recorder in its own goroutine, so requests
// never wait for it.
func (s *Spans) Run(ctx context.Context) error {
	defer s.follower.Close()
	for {
		entries, _, err := s.follower.Next(ctx)
		if err != nil {
			break
		}
		for _, e := range entries {
			s.export(e)
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), spansTimeout)
	defer cancel()
	return s.provider.Shutdown(ending)
}

func (s *Spans) export(e *Entry) {
	d := e.Decision
	ctx, span := s.tracer.Start(parentOf(d), spanName(d),
		oteltrace.WithTimestamp(d.Time), oteltrace.WithSpanKind(oteltrace.SpanKindServer))
	if !span.IsRecording() {
		return
	}
	defer span.End(oteltrace.WithTimestamp(d.Time.Add(d.Duration)))
	span.SetAttributes(attributesOf(e)...)
	if d.Handshake != "" {
		span.SetStatus(codes.Error, d.Handshake)
	} else if d.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, d.Err)
	}
	for i := range d.Authentication {
		step := &d.Authentication[i]
		child := s.start(ctx, "authenticate "+string(step.Method), d.Time.Add(step.Start), stepAttributes(step))
		end(child, d.Time.Add(step.Start+step.Duration), step.Outcome == authchain.OutcomeError)
	}
	for i := range d.Authorization {
		check := &d.Authorization[i]
		name := "authorize " + check.Resource + "/" + check.Subresource
		child := s.start(ctx, name, d.Time.Add(check.Start), checkAttributes(check))
		end(child, d.Time.Add(check.Start+check.Duration), check.Result == authchain.CheckError)
	}
}

// The method "start" begins a child span of the span in ctx. The caller must pass the child span to the function "end".
func (s *Spans) start(ctx context.Context, name string, at time.Time, all []attribute.KeyValue) oteltrace.Span {
	_, span := s.tracer.Start(ctx, name, oteltrace.WithTimestamp(at), oteltrace.WithAttributes(all...))
	return span
}

func end(span oteltrace.Span, at time.Time, failed bool) {
	if failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(oteltrace.WithTimestamp(at))
}

// parentOf returns a context with the client's span, which is the parent of the request's span. On the read-only port
// there is no parent, because a kubelet ignores the client's span there.
func parentOf(d *authchain.Decision) context.Context {
	if d.Traceparent == "" || d.TLS == nil {
		return context.Background()
	}
	carrier := propagation.MapCarrier{"traceparent": d.Traceparent}
	return propagation.TraceContext{}.Extract(context.Background(), carrier)
}
