package decisions_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	tracingapi "k8s.io/component-base/tracing/api/v1"

	"fauxlet/internal/decisions"
	"fauxlet/testcerts"
)

// ServeHTTP makes a collector also accept OTLP over HTTP at the path /v1/traces, with a header that a test has set.
func (c *collecting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(data, &request) != nil || r.URL.Path != "/v1/traces" ||
		r.Header.Get("Authorization") != "Bearer a b" {
		http.Error(w, "not an export of spans", http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), &request)
}

// authorities are the files of a CA, of a certificate that it has issued, and the configuration of a TLS server.
type authorities struct {
	caFile, certFile, keyFile string
	server                    *tls.Config
}

func newAuthorities(t *testing.T) *authorities {
	t.Helper()
	dir := t.TempDir()
	a := &authorities{caFile: filepath.Join(dir, "ca.crt"), certFile: filepath.Join(dir, "client.crt"),
		keyFile: filepath.Join(dir, "client.key")}
	ca := must(testcerts.NewAuthority("collector-ca"))
	serving := must(ca.Server("collector", []string{"127.0.0.1"}))
	client := must(ca.Client("stand-in", nil))
	if err := client.Write(a.certFile, a.keyFile); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.caFile, ca.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	a.server = &tls.Config{Certificates: []tls.Certificate{serving.TLS()}, ClientCAs: ca.Pool()}
	return a
}

// TestCollectorProtocols exports a span to collectors for OTLP over gRPC and over HTTP, with and without TLS. With the
// wrong choice of TLS, the collector must receive nothing. Headers that go out without TLS get a warning.
func TestCollectorProtocols(t *testing.T) {
	a, other := newAuthorities(t), newAuthorities(t)
	const plain, secure, mutual = "plain", "TLS", "TLS with a client certificate"
	const httpProtocol, grpcProtocol = "http", "grpc"
	for name, test := range map[string]struct {
		protocol, collector string
		inConfiguration     bool              // tracing.endpoint has the address, and no variable has it
		variables           map[string]string // ADDRESS stands for the collector's address
		warning, lost       bool
	}{
		"gRPC, endpoint in the configuration": {protocol: grpcProtocol, collector: plain, inConfiguration: true},
		"gRPC, endpoint in the configuration has precedence": {protocol: grpcProtocol, collector: plain,
			inConfiguration: true, variables: map[string]string{"ENDPOINT": "https://127.0.0.1:1/v1/traces"}},
		"gRPC with a CA, endpoint in the configuration": {protocol: grpcProtocol, collector: secure,
			inConfiguration: true, variables: map[string]string{"CERTIFICATE": a.caFile}},
		"gRPC with a client certificate, endpoint in the configuration": {protocol: grpcProtocol, collector: mutual,
			inConfiguration: true, variables: map[string]string{"CERTIFICATE": a.caFile, "INSECURE": "False",
				"CLIENT_CERTIFICATE": a.certFile, "CLIENT_KEY": a.keyFile, "HEADERS": "Authorization=Bearer%20a"}},
		"gRPC, TLS is not required": {protocol: grpcProtocol, collector: plain, inConfiguration: true,
			variables: map[string]string{"INSECURE": "True"}},
		"gRPC, TLS is not required for spans": {protocol: grpcProtocol, collector: plain, inConfiguration: true,
			variables: map[string]string{"INSECURE": "false", "TRACES_INSECURE": "TRUE"}},
		"gRPC, TLS is required": {protocol: grpcProtocol, collector: secure,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile, "INSECURE": "FALSE"}},
		"gRPC, headers without TLS": {protocol: grpcProtocol, collector: plain, inConfiguration: true, warning: true,
			variables: map[string]string{"TRACES_HEADERS": "Authorization=Bearer%20a"}},
		"gRPC, http with a CA": {protocol: grpcProtocol, collector: secure,
			variables: map[string]string{"ENDPOINT": "http://ADDRESS/", "CERTIFICATE": a.caFile}},
		"gRPC, collector with another CA": {protocol: grpcProtocol, collector: secure, lost: true,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": other.caFile, "TIMEOUT": "200"}},
		"gRPC, client certificate is missing": {protocol: grpcProtocol, collector: mutual, lost: true,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile, "TIMEOUT": "200"}},
		"gRPC, collector without TLS": {protocol: grpcProtocol, collector: plain, lost: true, inConfiguration: true,
			variables: map[string]string{"CERTIFICATE": a.caFile, "TIMEOUT": "200"}},
		"gRPC, collector with TLS and no CA": {protocol: grpcProtocol, collector: secure, lost: true,
			inConfiguration: true, variables: map[string]string{"TIMEOUT": "200"}},
		"gRPC without TLS": {protocol: grpcProtocol, collector: plain,
			variables: map[string]string{"ENDPOINT": "http://ADDRESS", "PROTOCOL": "grpc"}},
		"gRPC with TLS": {protocol: grpcProtocol, collector: secure,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile}},
		"gRPC with a client certificate": {protocol: grpcProtocol, collector: mutual,
			variables: map[string]string{"TRACES_ENDPOINT": "https://ADDRESS", "TRACES_CERTIFICATE": a.caFile,
				"TRACES_CLIENT_CERTIFICATE": a.certFile, "TRACES_CLIENT_KEY": a.keyFile}},
		"gRPC, https, system roots": {protocol: grpcProtocol, collector: plain, lost: true,
			variables: map[string]string{"ENDPOINT": "HTTPS://ADDRESS", "TIMEOUT": "200"}},
		"HTTP without TLS": {protocol: httpProtocol, collector: plain, warning: true,
			variables: map[string]string{"ENDPOINT": "http://ADDRESS"}},
		"HTTP with TLS": {protocol: httpProtocol, collector: secure,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile,
				"COMPRESSION": "gzip"}},
		"HTTP with a client certificate": {protocol: httpProtocol, collector: mutual,
			variables: map[string]string{"TRACES_ENDPOINT": "https://ADDRESS/v1/traces", "CERTIFICATE": a.caFile,
				"CLIENT_CERTIFICATE": a.certFile, "CLIENT_KEY": a.keyFile, "PROTOCOL": "grpc",
				"TRACES_PROTOCOL": "http/protobuf"}},
		"HTTP, collector with another CA": {protocol: httpProtocol, collector: secure, lost: true,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS"}},
		"HTTP, client certificate is missing": {protocol: httpProtocol, collector: mutual, lost: true,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile}},
		"HTTP, collector without TLS": {protocol: httpProtocol, collector: plain, lost: true,
			variables: map[string]string{"ENDPOINT": "https://ADDRESS", "CERTIFICATE": a.caFile}},
	} {
		t.Run(name, func(t *testing.T) {
			config := a.server.Clone()
			if test.collector == mutual {
				config.ClientAuth = tls.RequireAndVerifyClientCert
			}
			variables := map[string]string{}
			var c *collecting
			var address string
			if test.protocol == grpcProtocol {
				var options []grpc.ServerOption
				if test.collector != plain {
					options = append(options, grpc.Creds(credentials.NewTLS(config)))
				}
				c, address = collect(t, options...)
			} else {
				c = &collecting{got: make(chan *spans.ResourceSpans, 100)}
				server := httptest.NewUnstartedServer(c)
				server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed TLS handshakes
				if server.TLS = config; test.collector == plain {
					server.Start()
				} else {
					server.StartTLS()
				}
				defer server.Close()
				address = server.Listener.Addr().String()
				variables["PROTOCOL"], variables["HEADERS"] = "http/protobuf", "Authorization=Bearer%20a%20b"
			}
			maps.Copy(variables, test.variables)
			for name, value := range variables {
				t.Setenv("OTEL_EXPORTER_OTLP_"+name, strings.ReplaceAll(value, "ADDRESS", address))
			}
			configuration := &tracingapi.TracingConfiguration{SamplingRatePerMillion: new(int32(1_000_000))}
			if test.inConfiguration {
				configuration.Endpoint = &address
			}
			r := decisions.NewRecorder(0)
			s, err := decisions.NewSpans(t.Context(), r, configuration, "host-1")
			if err != nil {
				t.Fatal(err)
			}
			if w := s.Warning(); strings.Contains(w, "HEADERS: the headers are sent without TLS") != test.warning ||
				!test.warning && w != "" || strings.Contains(w, "Bearer") {
				t.Errorf("warning %q, want one: %v", w, test.warning)
			}
			r.For("node-1")(decision("/pods"))
			ctx, stop := context.WithCancel(t.Context())
			stop()
			_ = s.Run(ctx) // an error if the collector cannot be reached in time
			if got := len(c.got); got != map[bool]int{false: 1, true: 0}[test.lost] {
				t.Errorf("the collector received %d batches; lost must be %v", got, test.lost)
			}
		})
	}
}

// TestInvalidVariables checks that each invalid variable is an error that names the variable, and that an error never
// contains a header.
func TestInvalidVariables(t *testing.T) {
	a := newAuthorities(t)
	const https, web = "https://127.0.0.1:4318", "http/protobuf"
	for name, test := range map[string]struct {
		variables map[string]string
		endpoint  string // tracing.endpoint
		want      string
	}{
		"protocol": {map[string]string{"PROTOCOL": "http/json"}, "",
			`OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" must be one of grpc, http/protobuf`},
		"protocol for spans": {map[string]string{"TRACES_PROTOCOL": "udp"}, "",
			`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "udp" must be one of grpc, http/protobuf`},
		"compression": {map[string]string{"COMPRESSION": "zstd"}, "",
			`OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" must be one of none, gzip`},
		"insecure": {map[string]string{"INSECURE": "yes"}, "",
			`OTEL_EXPORTER_OTLP_INSECURE: "yes" must be one of true, false`},
		"no TLS for an https URL": {map[string]string{"INSECURE": "true", "ENDPOINT": https}, "",
			`OTEL_EXPORTER_OTLP_INSECURE: "true" contradicts the scheme https in OTEL_EXPORTER_OTLP_ENDPOINT`},
		"no TLS for an https URL, in capitals": {map[string]string{"TRACES_INSECURE": "TRUE", "TRACES_ENDPOINT": https},
			"", `OTEL_EXPORTER_OTLP_TRACES_INSECURE: "TRUE" contradicts the scheme https in ` +
				`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`},
		"TLS for an http URL": {map[string]string{"INSECURE": "false", "ENDPOINT": "http://127.0.0.1:4317"}, "",
			`OTEL_EXPORTER_OTLP_INSECURE: "false" contradicts the scheme http in OTEL_EXPORTER_OTLP_ENDPOINT`},
		"TLS for an http URL over HTTP": {map[string]string{"PROTOCOL": web, "INSECURE": "False",
			"ENDPOINT": "HTTP://127.0.0.1:4318"}, "",
			`OTEL_EXPORTER_OTLP_INSECURE: "False" contradicts the scheme http in OTEL_EXPORTER_OTLP_ENDPOINT`},
		"TLS for an endpoint in the configuration": {map[string]string{"INSECURE": "false"}, "127.0.0.1:4317",
			`OTEL_EXPORTER_OTLP_INSECURE: "false" requires TLS, which is off; set OTEL_EXPORTER_OTLP_CERTIFICATE, or ` +
				`set OTEL_EXPORTER_OTLP_ENDPOINT to a URL with https and leave tracing.endpoint out`},
		"TLS for an endpoint in the configuration, https URL": {map[string]string{"TRACES_INSECURE": "false",
			"ENDPOINT": https}, "127.0.0.1:4317", `OTEL_EXPORTER_OTLP_TRACES_INSECURE: "false" requires TLS`},
		"TLS for the default endpoint": {map[string]string{"INSECURE": "false"}, "",
			`OTEL_EXPORTER_OTLP_INSECURE: "false" requires TLS, which is off; set`},
		"path over gRPC": {map[string]string{"TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces/secret"}, "",
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: a URL for OTLP over gRPC must not have a path; remove the path, or " +
				"set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf"},
		"path over gRPC, protocol for spans": {map[string]string{"ENDPOINT": https + "/otlp",
			"TRACES_PROTOCOL": "grpc"}, "",
			"remove the path, or set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to http/protobuf"},
		"no scheme": {map[string]string{"ENDPOINT": "collector:4318"}, "",
			"OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL with http or https and a host"},
		"password in the URL": {map[string]string{"ENDPOINT": "https://me:secret@collector:4318"}, "",
			"OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL"},
		"time limit": {map[string]string{"TIMEOUT": "10s"}, "",
			`OTEL_EXPORTER_OTLP_TIMEOUT: "10s" must be a positive number of milliseconds`},
		"header without a name": {map[string]string{"HEADERS": "a=b,Bearer secret"}, "",
			"OTEL_EXPORTER_OTLP_HEADERS: entry 2 must be NAME=VALUE"},
		"header with an invalid name": {map[string]string{"HEADERS": "a b=secret"}, "", "entry 1 must be NAME=VALUE"},
		"header that is not encoded":  {map[string]string{"HEADERS": "a=%secret"}, "", "entry 1 must be NAME=VALUE"},
		"CA is missing": {map[string]string{"CERTIFICATE": "/missing/ca.crt"}, "",
			"OTEL_EXPORTER_OTLP_CERTIFICATE: open /missing/ca.crt: no such file or directory; give a file"},
		"CA is no certificate": {map[string]string{"TRACES_CERTIFICATE": a.keyFile}, "",
			"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: " + a.keyFile + ": no certificate found"},
		"no client key": {map[string]string{"CLIENT_CERTIFICATE": a.certFile}, "",
			`it is "` + a.certFile + `", and OTEL_EXPORTER_OTLP_CLIENT_KEY is ""; set both or neither`},
		"no client certificate": {map[string]string{"TRACES_CLIENT_KEY": "client.key"}, "",
			`OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE: it is "", and OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY is ` +
				`"client.key"; set both or neither`},
		"wrong client key": {map[string]string{"CLIENT_CERTIFICATE": a.certFile, "CLIENT_KEY": a.certFile}, "",
			"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: " + a.certFile + " and OTEL_EXPORTER_OTLP_CLIENT_KEY "},
		"CA for a URL without TLS": {map[string]string{"PROTOCOL": web, "ENDPOINT": "http://127.0.0.1:4318",
			"CERTIFICATE": a.caFile}, "",
			"OTEL_EXPORTER_OTLP_ENDPOINT: insecure HTTP endpoint cannot use TLS client configuration; use the scheme"},
		"CA without TLS": {map[string]string{"PROTOCOL": web, "TRACES_INSECURE": "true", "CERTIFICATE": a.caFile}, "",
			"OTEL_EXPORTER_OTLP_TRACES_INSECURE: insecure HTTP endpoint cannot use TLS client configuration; remove " +
				"this variable, or remove the variables for certificates"},
		"HTTP with an endpoint for gRPC": {map[string]string{"PROTOCOL": web}, "127.0.0.1:4317",
			`endpoint: "127.0.0.1:4317" is for OTLP over gRPC, but OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf`},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range test.variables {
				t.Setenv("OTEL_EXPORTER_OTLP_"+name, value)
			}
			configuration := &tracingapi.TracingConfiguration{}
			if test.endpoint != "" {
				configuration.Endpoint = &test.endpoint
			}
			_, err := decisions.NewSpans(t.Context(), decisions.NewRecorder(0), configuration, "host-1")
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
