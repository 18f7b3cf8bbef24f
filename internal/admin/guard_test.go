package admin_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/faults"
)

const token = "a-token-for-this-test"

func newCore(w io.Writer) zapcore.Core {
	return zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(w)),
		zapcore.DebugLevel)
}

func dial(t *testing.T, s *admin.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestOtherOriginsAreRejected checks which Host, Origin and Sec-Fetch-Site headers a loopback listener accepts.
func TestOtherOriginsAreRejected(t *testing.T) {
	s, base := serve(t, admin.Options{Recorder: recorded(), Faults: faults.NewSet()})
	_, port, _ := net.SplitHostPort(s.Addr())
	own := "Origin: http://127.0.0.1:" + port
	for _, test := range []struct {
		name, request string
		headers       []string
		want          string
	}{
		{"its address", "GET /api/decisions", nil, "200"},
		{"localhost", "GET /api/decisions", []string{"Host: localhost:" + port}, "200"},
		{"localhost, as it is forwarded", "GET /api/decisions", []string{"Host: LOCALHOST:8080"}, "200"},
		{"another address of loopback", "GET /api/decisions", []string{"Host: 127.8.8.8:" + port}, "200"},
		{"IPv6", "GET /api/decisions", []string{"Host: [::1]:" + port}, "200"},
		{"without a port", "GET /api/decisions", []string{"Host: [::1]"}, "200"},
		{"a name that points here", "GET /api/decisions", []string{"Host: evil.example:" + port}, "403"},
		{"a name that begins like one of ours", "GET /api/decisions", []string{"Host: localhost.evil.example:" + port},
			"403"},
		{"a name that begins like an address", "GET /", []string{"Host: 127.0.0.1.evil.example"}, "403"},
		{"a name, for readiness", "GET /readyz", []string{"Host: evil.example"}, "403"},
		{"an address that is not loopback", "GET /api/decisions", []string{"Host: 203.0.113.7:" + port}, "403"},

		{"its own page", "GET /api/decisions", []string{own, "Sec-Fetch-Site: same-origin"}, "200"},
		{"a page from elsewhere", "GET /api/decisions", []string{"Origin: http://evil.example"}, "403"},
		{"a page of another port", "GET /api/decisions", []string{"Origin: http://127.0.0.1:1"}, "403"},
		{"a page of the same name by TLS", "GET /api/decisions", []string{"Origin: https://127.0.0.1:" + port}, "403"},
		{"a page of nowhere", "GET /api/events", []string{"Origin: null"}, "403"},
		{"an empty origin", "GET /api/decisions", []string{"Origin: "}, "403"},
		{"two origins", "GET /api/decisions", []string{own, "Origin: http://evil.example"}, "403"},
		{"an image of a page from elsewhere", "GET /api/export",
			[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, "403"},
		{"a frame of a page from elsewhere", "GET /",
			[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, "403"},
		{"a link on a page from elsewhere", "GET /",
			[]string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, "200"},
		{"its address, typed", "GET /",
			[]string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, "200"},

		{"a change", "DELETE /api/faults", []string{"Content-Type: application/json"}, "200"},
		{"a change by its own page", "DELETE /api/faults",
			[]string{"Content-Type: application/json; charset=utf-8", own}, "200"},
		{"a change by a page from elsewhere", "DELETE /api/faults",
			[]string{"Content-Type: application/json", "Origin: http://evil.example"}, "403"},
		{"a form", "POST /api/faults", []string{"Content-Type: application/x-www-form-urlencoded"}, "415"},
		{"a form that is text", "POST /api/faults", []string{"Content-Type: text/plain"}, "415"},
		{"a change of no type", "DELETE /api/faults/x", nil, "415"},
		{"a change of two types", "DELETE /api/faults", []string{"Content-Type: text/plain, application/json"}, "415"},
		{"what a browser asks before", "OPTIONS /api/faults",
			[]string{"Origin: http://evil.example", "Access-Control-Request-Method: DELETE"}, "403"},
	} {
		t.Run(test.name, func(t *testing.T) {
			method, path, _ := strings.Cut(test.request, " ")
			response, body := ask(t, method, base+path, "", test.headers...)
			if response.Status[:3] != test.want {
				t.Errorf("%s %s, want %s", response.Status, body, test.want)
			}
			for name := range response.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("the response has the header %s", name)
				}
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
				"Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
			} {
				if got := response.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy,
				"frame-ancestors 'none'") {
				t.Errorf("Content-Security-Policy: %q", policy)
			}
		})
	}
}

// TestTokenIsRequired checks that every path of the API requires the token, and that the token never occurs in a
// response or the log.
func TestTokenIsRequired(t *testing.T) {
	var logged strings.Builder
	s, err := admin.Listen("0.0.0.0:0",
		admin.Options{Recorder: recorded(), Faults: faults.NewSet(), Token: token, Logger: zap.New(newCore(&logged))})
	if err != nil {
		t.Fatal(err)
	}
	start(t, s)
	_, port, _ := net.SplitHostPort(s.Addr())
	base := "http://127.0.0.1:" + port
	for path, open := range map[string]bool{
		"/": true, "/readyz": true,
		"/api/decisions": false, "/api/decisions/1": false, "/api/events": false, "/api/export": false,
		"/api/faults": false, "/api/build": false, "/api/nothing": false,
	} {
		for header, right := range map[string]bool{
			"X: y": false, "Authorization: Bearer": false, "Authorization: Bearer ": false,
			"Authorization: Bearer " + token + "x": false,
			"Authorization: Bearer " + token[1:]:   false, "Authorization: Basic " + token: false,
			"Authorization: " + token:        false,
			"Authorization: bearer " + token: true,
		} {
			if right && path == "/api/events" {
				continue // an event stream does not end
			}
			response, body := ask(t, "GET", base+path, "", header)
			if got := response.StatusCode != 401; got != (open || right) {
				t.Errorf("%s with %q: %s", path, header, response.Status)
			}
			if response.StatusCode == 401 && response.Header.Get("WWW-Authenticate") == "" ||
				strings.Contains(body, token) {
				t.Errorf("%s with %q: %v %s", path, header, response.Header, body)
			}
		}
	}
	// NAT may translate addresses, so any IP address is accepted as Host. A DNS name may belong to a hostile web
	// page, so it is rejected.
	for host, want := range map[string]int{"203.0.113.7:10240": 200, "[2001:db8::1]": 200, "evil.example": 403} {
		if response, _ := ask(t, "GET", base+"/api/decisions", "", "Authorization: Bearer "+token,
			"Host: "+host); response.StatusCode != want {
			t.Errorf("Host %s: %s, want %d", host, response.Status, want)
		}
	}
	c := admin.NewClient("127.0.0.1:"+port, token)
	defer c.Close()
	if _, err := c.AddFault(t.Context(), faults.Fault{Kind: faults.CachesFlushed}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(logged.String(), "fault injected") || strings.Contains(logged.String(), token) {
		t.Errorf("the log contains the token: %s", logged.String())
	}
	wrong := admin.NewClient("127.0.0.1:"+port, token+"x")
	defer wrong.Close()
	if _, err := wrong.Faults(t.Context()); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("with a wrong token: %v", err)
	}
}

// TestListenRequiresToken checks that a listener that other machines can reach requires a token of sufficient
// length.
func TestListenRequiresToken(t *testing.T) {
	taken := must(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	for name, test := range map[string]struct{ address, token, want string }{
		"loopback":            {"127.0.0.1:0", "", ""},
		"loopback by name":    {"localhost:0", "", ""},
		"IPv6":                {"[::1]:0", "", ""},
		"loopback, token":     {"127.0.0.1:0", token, ""},
		"all":                 {":0", "", "a token is required, because other machines can reach this address"},
		"all, by address":     {"0.0.0.0:0", "", "a token is required, because other machines can reach this address"},
		"all, token":          {"0.0.0.0:0", token, ""},
		"a short token":       {"0.0.0.0:0", "short", "at least 16 printable"},
		"a token in two":      {"127.0.0.1:0", token + " " + token, "and no space"},
		"a token with a line": {"127.0.0.1:0", token + "\n", "and no space"},
		"taken":               {taken.Addr().String(), "", "address already in use"},
		"no port":             {"127.0.0.1", "", "missing port in address"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := admin.Listen(test.address, admin.Options{Recorder: decisions.NewRecorder(1), Token: test.token})
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), token) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decision(path string) *authchain.Decision {
	return &authchain.Decision{Time: time.Now(), Remote: "127.0.0.1:1", Method: "GET", Path: path, Status: 200}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
