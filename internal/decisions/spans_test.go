package decisions_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apiserver/pkg/authentication/user"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"fauxlet/authchain"
	"fauxlet/internal/decisions"
)

// collecting is an OpenTelemetry collector that keeps the spans that it receives.
type collecting struct {
	collector.UnimplementedTraceServiceServer
	got    chan *spans.ResourceSpans
	refuse bool
}

func (c *collecting) Export(_ context.Context,
	request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	if c.refuse {
		return nil, status.Error(codes.InvalidArgument, "no")
	}
	for _, s := range request.ResourceSpans {
		c.got <- s
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// The function "collect" starts a collector and returns its address.
func collect(t *testing.T, options ...grpc.ServerOption) (*collecting, string) {
	t.Helper()
	c := &collecting{got: make(chan *spans.ResourceSpans, 100)}
	server := grpc.NewServer(options...)
	collector.RegisterTraceServiceServer(server, c)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return c, listener.Addr().String()
}

// valuesOf returns the values of attributes by name.
func valuesOf(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		text := a.Value.GetStringValue()
		if text == "" {
			text = a.Value.String()
		}
		all[a.Key] = text
	}
	return all
}

// The function "send" exports Decisions as spans, and returns what the collector received.
func send(t *testing.T, samplingRate int32, all ...*authchain.Decision) (sent []*spans.Span,
	resource map[string]string) {
	t.Helper()
	c, endpoint := collect(t)
	r := decisions.NewRecorder(0)
	s, err := decisions.NewSpans(t.Context(), r,
		&tracingapi.TracingConfiguration{Endpoint: &endpoint, SamplingRatePerMillion: &samplingRate}, "host-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		r.For("node-1")(d)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop() // Run still exports the Decisions that are already recorded
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	close(c.got)
	for batch := range c.got {
		resource = valuesOf(batch.Resource.Attributes)
		for _, scope := range batch.ScopeSpans {
			sent = append(sent, scope.Spans...)
		}
	}
	return sent, resource
}

// TestSpanTree checks that a request becomes a child of the client's span, and has a child span for each
// authentication step and authorization check.
func TestSpanTree(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	const traceID, client = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	d := &authchain.Decision{
		Time: at, Duration: 5 * time.Millisecond, Remote: "192.0.2.7:1234",
		TLS:    &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
		Method: "GET", Path: "/containerLogs/default/nginx/nginx", Status: 500, Err: "oh",
		Traceparent: "00-" + traceID + "-" + client + "-01",
		Authentication: []authchain.Step{
			{Method: authchain.MethodX509, Outcome: authchain.OutcomeSkipped, Reason: "none", Start: time.Millisecond},
			{Method: authchain.MethodBearerToken, Outcome: authchain.OutcomeAuthenticated, Token: "12345678",
				Cached: true, Start: time.Millisecond, Duration: time.Millisecond}},
		User: &user.DefaultInfo{Name: "viewer", Groups: []string{"a", "b"}},
		Authorization: []authchain.Check{{Verb: "get", Resource: "nodes", Subresource: "proxy",
			Result: authchain.CheckError, Reviews: 5, Start: 2 * time.Millisecond, Duration: 3 * time.Millisecond}},
	}
	sent, resource := send(t, 0, d)
	if resource["service.name"] != "kubelet" || resource["host.name"] != "host-1" {
		t.Errorf("resource attributes %v", resource)
	}
	if len(sent) != 4 {
		t.Fatalf("%d spans: %v", len(sent), sent)
	}
	slices.SortFunc(sent, func(a, b *spans.Span) int { return strings.Compare(a.Name, b.Name) })
	request := sent[0]
	ofRequest := valuesOf(request.Attributes)
	for i, want := range []struct {
		name, parent  string
		start, end    time.Duration
		failed        bool
		key, fact     string
		andKey, value string
	}{
		{"GET /containerLogs", client, 0, 5 * time.Millisecond, true, "user.name", "viewer", "network.peer.address",
			"192.0.2.7"},
		{"authenticate bearer token", hex.EncodeToString(request.SpanId), time.Millisecond, 2 * time.Millisecond, false,
			"fauxlet.token", "12345678", "fauxlet.outcome", "authenticated"},
		{"authenticate x509", hex.EncodeToString(request.SpanId), time.Millisecond, time.Millisecond, false,
			"fauxlet.reason", "none", "fauxlet.outcome", "skipped"},
		{"authorize nodes/proxy", hex.EncodeToString(request.SpanId), 2 * time.Millisecond, 5 * time.Millisecond, true,
			"fauxlet.result", "error", "fauxlet.verb", "get"},
	} {
		got, facts := sent[i], valuesOf(sent[i].Attributes)
		start, end := time.Unix(0, int64(got.StartTimeUnixNano)).Sub(at),
			time.Unix(0, int64(got.EndTimeUnixNano)).Sub(at)
		if got.Name != want.name || hex.EncodeToString(got.TraceId) != traceID ||
			hex.EncodeToString(got.ParentSpanId) != want.parent ||
			start != want.start || end != want.end ||
			(got.Status.GetCode() == spans.Status_STATUS_CODE_ERROR) != want.failed ||
			facts[want.key] != want.fact || facts[want.andKey] != want.value {
			t.Errorf("span %v, from %v to %v, want %+v", got, start, end, want)
		}
	}
	if request.Kind != spans.Span_SPAN_KIND_SERVER || request.Status.Message != "oh" ||
		ofRequest["k8s.node.name"] != "node-1" || ofRequest["url.path"] != d.Path ||
		ofRequest["tls.protocol.version"] != "1.3" || ofRequest["fauxlet.outcome"] != "error" ||
		!strings.HasPrefix(ofRequest["fauxlet.why"], "error: ") {
		t.Errorf("the request's span is %v", request)
	}
	for key, value := range ofRequest {
		if value == "" {
			t.Errorf("the attribute %s has no value", key)
		}
	}
}

// TestSampling checks that the sampling rate and the client's sampling flag determine which spans are exported. On the
// read-only port, the client's flag has no effect.
func TestSampling(t *testing.T) {
	const sampled, not = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	secure := func(path, parent string) *authchain.Decision {
		d := decision(path)
		d.TLS, d.Traceparent = &tls.ConnectionState{}, parent
		return d
	}
	readOnly := func(path, parent string) *authchain.Decision {
		d := secure(path, parent)
		d.TLS = nil
		return d
	}
	all := func() []*authchain.Decision {
		return []*authchain.Decision{
			secure("/no-client-span", ""), secure("/sampled", sampled), secure("/not-sampled", not),
			secure("/nonsense", strings.Repeat("x", 55)), readOnly("/read-only", sampled),
			authchain.FailedHandshake("192.0.2.7:1", "no TLS"),
			authchain.NoRequest(time.Now(), "192.0.2.7:1", nil, "nothing came"),
		}
	}
	for rate, want := range map[int32]string{
		0: "GET /sampled",
		1_000_000: "GET /no-client-span, GET /nonsense, GET /read-only, GET /sampled, TLS handshake, connection " +
			"without a request",
	} {
		sent, _ := send(t, rate, all()...)
		var names []string
		for _, s := range sent {
			names = append(names, s.Name)
			if s.Name == "GET /read-only" && len(s.ParentSpanId) > 0 {
				t.Error("the span of a read-only client has a parent")
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("at a rate of %d: %s, want %s", rate, got, want)
		}
	}
}

// TestCollectorErrorsDoNotDelay checks that errors of the collector delay neither recording nor the end of Run.
func TestCollectorErrorsDoNotDelay(t *testing.T) {
	c, endpoint := collect(t)
	c.refuse = true
	rate := int32(1_000_000)
	r := decisions.NewRecorder(10)
	s, err := decisions.NewSpans(t.Context(), r,
		&tracingapi.TracingConfiguration{Endpoint: &endpoint, SamplingRatePerMillion: &rate}, "host-1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for i := range 5000 {
		r.For("node-1")(decision(fmt.Sprint("/", i)))
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
