package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fauxlet/authchain"
	"fauxlet/config"
)

// TestPanics checks what the Server does if a handler panics. If the handler has not written anything, the Server
// answers 500. Otherwise the Server closes the connection. The panic is logged with its stack and recorded in the
// Decision. A panic with ErrAbortHandler is not logged, because net/http defines it as the way to abort a response.
func TestPanics(t *testing.T) {
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		status int // 0: the client receives an incomplete response
		err    string
		logged int
	}{
		{"before the answer", func(http.ResponseWriter, *http.Request) { panic("oh") }, 500, "panic: oh", 1},
		{"an error before the answer", func(http.ResponseWriter, *http.Request) { panic(errors.New("oh")) }, 500,
			"panic: oh", 1},
		{"in the answer", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic("oh")
		}, 0, "panic: oh", 1},
		{"with the token", func(_ http.ResponseWriter, r *http.Request) {
			header := r.Header.Clone()
			r.Header.Del("Authorization") // as the authenticator does
			panic(header)
		}, 500, "panic: (removed, because it repeats the token)", 1},
		{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			core, lines := observer.New(zap.ErrorLevel)
			decisions := make(chan *authchain.Decision, 1)
			s := &Server{recorder: recorder{logger: zap.New(core),
				metrics: newMetrics(Options{Config: &config.Config{}}),
				observe: func(d *authchain.Decision) { decisions <- d }}}
			router := &router{mux: http.NewServeMux(), buckets: map[string]bool{}}
			router.mux.HandleFunc("/", test.handle)
			web := httptest.NewUnstartedServer(&port{server: s, routes: router})
			web.Config.ErrorLog = s.errorLog()
			web.Start()
			defer web.Close()

			const token = "token-of-a-client-0123456789"
			request, err := http.NewRequest(http.MethodGet, web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := web.Client().Do(request)
			if err == nil {
				_, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			switch {
			case test.status == 0 && err == nil:
				t.Error("the client could not detect that the response is incomplete")
			case test.status != 0 && (err != nil || response.StatusCode != test.status):
				t.Errorf("%v %v, want %d", response, err, test.status)
			}
			d := <-decisions
			if d.Err != test.err || test.status != 0 && d.Status != test.status {
				t.Errorf("the Decision says %d %q, want %d %q", d.Status, d.Err, test.status, test.err)
			}
			if logged := fmt.Sprint(lines.All(), d); strings.Contains(logged, token) {
				t.Errorf("the token was logged: %s", logged)
			}
			if panics := lines.FilterMessageSnippet("a handler panicked").All(); len(panics) != test.logged {
				t.Errorf("logged %v", lines.All())
			} else if test.logged > 0 && !strings.Contains(panics[0].ContextMap()["stack"].(string), "TestPanics") {
				t.Errorf("the logged stack does not contain the handler: %v", panics[0].ContextMap()["stack"])
			}
		})
	}
}
