package decisions

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"fauxlet/authchain"
)

// spanName returns the name of a request's span. It contains only the method and the first path segment, so that there
// are few names.
func spanName(d *authchain.Decision) string {
	switch {
	case d.Handshake != "":
		return "TLS handshake"
	case d.NoRequest != "":
		return "connection without a request"
	}
	root, _, _ := strings.Cut(strings.TrimPrefix(d.Path, "/"), "/")
	return d.Method + " /" + root
}

// attributesOf returns the attributes of a request's span. If OpenTelemetry defines a name for an attribute, the
// attribute has that name. Otherwise its name begins with "fauxlet.".
func attributesOf(e *Entry) []attribute.KeyValue {
	d := e.Decision
	attributes := []attribute.KeyValue{
		semconv.K8SNodeName(e.Node), semconv.HTTPRequestMethodKey.String(d.Method), semconv.URLPath(d.Path),
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
		attributes = append(attributes,
			semconv.UserName(d.User.GetName()), attribute.StringSlice("user.roles", d.User.GetGroups()))
	}
	if host, port, err := net.SplitHostPort(d.Remote); err == nil {
		attributes = append(attributes, semconv.NetworkPeerAddress(host))
		if n, err := strconv.Atoi(port); err == nil {
			attributes = append(attributes, semconv.NetworkPeerPort(n))
		}
	}
	if c := d.Report().Connection; c != nil {
		attributes = append(attributes, semconv.TLSProtocolNameTLS,
			semconv.TLSProtocolVersion(strings.TrimPrefix(c.Version, "TLS ")), semconv.TLSCipher(c.CipherSuite))
		if c.Certificate != nil {
			attributes = append(attributes,
				semconv.TLSClientSubject(c.Certificate.Subject), semconv.TLSClientIssuer(c.Certificate.Issuer))
		}
	}
	return withoutEmpty(attributes)
}

func stepAttributes(s *authchain.Step) []attribute.KeyValue {
	return withoutEmpty([]attribute.KeyValue{
		attribute.String("fauxlet.outcome", string(s.Outcome)),
		attribute.String("fauxlet.reason", s.Reason),
		attribute.String("fauxlet.token", s.Token),
		attribute.Bool("fauxlet.cached", s.Cached),
	})
}

func checkAttributes(c *authchain.Check) []attribute.KeyValue {
	return withoutEmpty([]attribute.KeyValue{
		attribute.String("fauxlet.verb", c.Verb),
		attribute.String("fauxlet.result", string(c.Result)),
		attribute.String("fauxlet.reason", c.Reason),
		attribute.Int("fauxlet.reviews", c.Reviews),
		attribute.Bool("fauxlet.cached", c.Cached),
	})
}

// withoutEmpty removes attributes that are empty strings.
func withoutEmpty(attributes []attribute.KeyValue) []attribute.KeyValue {
	return slices.DeleteFunc(attributes, func(a attribute.KeyValue) bool {
		return a.Value.Type() == attribute.STRING && a.Value.AsString() == ""
	})
}
