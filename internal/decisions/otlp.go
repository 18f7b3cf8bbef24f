package decisions

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracingapi "k8s.io/component-base/tracing/api/v1"
)

// The names of the environment variables for exporters begin with one of these prefixes. A variable with the second
// prefix has precedence, because it is for spans only. (OpenTelemetry specification: protocol/exporter.md)
const (
	allSignals = "OTEL_EXPORTER_OTLP_"
	spansOnly  = "OTEL_EXPORTER_OTLP_TRACES_"
)

// newExporter returns an exporter that sends spans to a collector. As in the kubelet, it sends them over gRPC, to
// tracing.endpoint if that is set, and the library reads the environment variables of the OpenTelemetry specification.
// In two ways newExporter does more than the kubelet: a URL with the scheme https in a variable means TLS, and the
// variable for the protocol can select HTTP. An invalid variable is an error, because the library would ignore it.
// Variables that require TLS are an error if there would be none. The warning is for Spans.Warning.
func newExporter(ctx context.Context, c *tracingapi.TracingConfiguration) (
	exporter sdktrace.SpanExporter, warning string, err error) {
	for _, prefix := range []string{allSignals, spansOnly} {
		for _, v := range variables {
			if err := v.check(prefix); err != nil {
				return nil, "", fmt.Errorf("%s%s: %w", prefix, v.name, err)
			}
		}
	}
	endpoint, address := variable("ENDPOINT")
	insecure, value := variable("INSECURE")
	scheme, _, _ := strings.Cut(strings.ToLower(address), ":")
	withTLS, withoutTLS := strings.EqualFold(value, "false"), strings.EqualFold(value, "true")
	if scheme == "https" && withoutTLS || scheme == "http" && withTLS {
		return nil, "", fmt.Errorf("%s: %q contradicts the scheme %s in %s; remove one of them", insecure, value,
			scheme, endpoint)
	}
	var secure bool
	if _, protocol := variable("PROTOCOL"); protocol == protocolHTTP {
		secure = scheme == "https" || address == "" && !withoutTLS
		exporter, err = newHTTPExporter(ctx, c)
	} else {
		_, ca := variable("CERTIFICATE")
		_, certificate := variable("CLIENT_CERTIFICATE")
		secure = ca != "" || certificate != "" || scheme == "https" && c.Endpoint == nil
		if withTLS && !secure {
			return nil, "", fmt.Errorf("%s: %q requires TLS, which is off; set %sCERTIFICATE, or set %s to a URL with "+
				"https and leave tracing.endpoint out", insecure, value, allSignals, endpoint)
		}
		exporter, err = newGRPCExporter(ctx, c, secure)
	}
	if headers, value := variable("HEADERS"); value != "" && !secure {
		warning = fmt.Sprintf("%s: the headers are sent without TLS, so others on the network can read a token in "+
			"them; set %s to a URL with https, and leave tracing.endpoint out", headers, endpoint)
	}
	return exporter, warning, err
}

func newGRPCExporter(ctx context.Context, c *tracingapi.TracingConfiguration, secure bool) (sdktrace.SpanExporter,
	error) {
	var options []otlptracegrpc.Option
	if c.Endpoint != nil {
		options = append(options, otlptracegrpc.WithEndpoint(*c.Endpoint))
	} else {
		// The library would take the path as a part of the host's name or port, and lose all spans.
		endpoint, address := variable("ENDPOINT")
		if u, err := url.Parse(address); err != nil || strings.Trim(u.Path, "/") != "" {
			name, _ := variable("PROTOCOL")
			return nil, fmt.Errorf("%s: a URL for OTLP over gRPC must not have a path; remove the path, or set %s "+
				"to %s", endpoint, name, protocolHTTP)
		}
	}
	if !secure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	return otlptracegrpc.New(ctx, options...)
}

func newHTTPExporter(ctx context.Context, c *tracingapi.TracingConfiguration) (sdktrace.SpanExporter, error) {
	if c.Endpoint != nil {
		name, protocol := variable("PROTOCOL")
		return nil, fmt.Errorf("endpoint: %q is for OTLP over gRPC, but %s is %s; remove the endpoint from the "+
			"configuration, and set %sENDPOINT to a URL such as https://collector.example.com:4318",
			*c.Endpoint, name, protocol, allSignals)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil { // the only error is about a CA or a client certificate without TLS
		name, address := variable("ENDPOINT")
		remedy := "use the scheme https"
		if address == "" {
			name, _ = variable("INSECURE")
			remedy = "remove this variable"
		}
		return nil, fmt.Errorf("%s: %w; %s, or remove the variables for certificates", name, err, remedy)
	}
	return exporter, nil
}

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// variable returns the full name and the value of an environment variable. The value is empty if it is not set.
func variable(name string) (fullName, value string) {
	if value := valueOf(spansOnly + name); value != "" {
		return spansOnly + name, value
	}
	return allSignals + name, valueOf(allSignals + name)
}

func valueOf(fullName string) string { return strings.TrimSpace(os.Getenv(fullName)) }

// variables are the environment variables that the exporters read. The function "check" returns an error if the
// variable is set and the library would ignore its value, or take another value in its place. The error does not
// contain values that may be secret.
var variables = []struct {
	name  string
	check func(prefix string) error
}{
	{"PROTOCOL", oneOf("PROTOCOL", protocolGRPC, protocolHTTP)},
	{"COMPRESSION", oneOf("COMPRESSION", "none", "gzip")},
	{"INSECURE", checkInsecure},
	{"ENDPOINT", checkURL},
	{"TIMEOUT", checkTimeout},
	{"HEADERS", checkHeaders},
	{"CERTIFICATE", checkCertificate},
	{"CLIENT_CERTIFICATE", checkClientCertificate},
}

func oneOf(name string, allowed ...string) func(prefix string) error {
	return func(prefix string) error {
		if value := valueOf(prefix + name); value != "" && !slices.Contains(allowed, value) {
			return fmt.Errorf("%q must be one of %s", value, strings.Join(allowed, ", "))
		}
		return nil
	}
}

func checkInsecure(prefix string) error {
	value := valueOf(prefix + "INSECURE")
	if value != "" && !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return fmt.Errorf("%q must be one of true, false", value)
	}
	return nil
}

func checkURL(prefix string) error {
	value := valueOf(prefix + "ENDPOINT")
	if value == "" {
		return nil
	}
	// The error of url.Parse would contain the whole URL, and a URL may contain a password.
	if u, err := url.Parse(value); err != nil || u.Host == "" || u.User != nil ||
		!slices.Contains([]string{"http", "https"}, strings.ToLower(u.Scheme)) {
		return errors.New("must be a URL with http or https and a host, without a user name, such as " +
			"https://collector.example.com:4318")
	}
	return nil
}

func checkTimeout(prefix string) error {
	value := valueOf(prefix + "TIMEOUT")
	if n, err := strconv.Atoi(value); value != "" && (err != nil || n <= 0) {
		return fmt.Errorf("%q must be a positive number of milliseconds", value)
	}
	return nil
}

func checkHeaders(prefix string) error {
	value := valueOf(prefix + "HEADERS")
	if value == "" {
		return nil
	}
	for i, pair := range strings.Split(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(text); !found || err != nil || !isToken(strings.TrimSpace(name)) {
			return fmt.Errorf("entry %d must be NAME=VALUE with a URL-encoded value; separate entries with commas", i+1)
		}
	}
	return nil
}

// isToken reports whether a text can be the name of an HTTP header.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func checkCertificate(prefix string) error {
	file := valueOf(prefix + "CERTIFICATE")
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w; give a file with the CA certificates of the collector in PEM form", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return fmt.Errorf("%s: no certificate found; give a file with the CA certificates of the collector in PEM form",
			file)
	}
	return nil
}

func checkClientCertificate(prefix string) error {
	certificate, key := valueOf(prefix+"CLIENT_CERTIFICATE"), valueOf(prefix+"CLIENT_KEY")
	if certificate == "" && key == "" {
		return nil
	}
	if certificate == "" || key == "" {
		return fmt.Errorf("it is %q, and %sCLIENT_KEY is %q; set both or neither", certificate, prefix, key)
	}
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		return fmt.Errorf("%s and %sCLIENT_KEY %s: %w; give a certificate and its private key in PEM form", certificate,
			prefix, key, err)
	}
	return nil
}
