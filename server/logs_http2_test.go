package server_test

import (
	"net/http"
	"testing"
)

// TestLogsOverHTTP2 expects no Content-Length, even if the log is short. (The Server offers HTTP/2 only if there is
// no client CA.)
func TestLogsOverHTTP2(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: noClientCA})
	client := f.withToken(t, "the-token-of-kubelet-client")
	for _, query := range []string{"?tailLines=1", "?tailLines=0"} {
		got, _ := f.ask(t, client, "GET", "/containerLogs/default/nginx/nginx"+query)
		if got.ProtoMajor != 2 || got.StatusCode != http.StatusOK || got.Header["Content-Length"] != nil {
			t.Errorf("%s: %s %d, Content-Length %q", query, got.Proto, got.StatusCode, got.Header["Content-Length"])
		}
	}
	got, body := f.ask(t, client, "GET", "/containerLogs/default/nginx/nginx?previous=true")
	if got.StatusCode != http.StatusBadRequest || got.Header.Get("Content-Type") != text {
		t.Errorf("no previous log: %d %q, Content-Type %q", got.StatusCode, body, got.Header["Content-Type"])
	}
	if got, body := f.ask(t, client, "GET",
		"/containerLogs/default/nginx/nope"); got.StatusCode != http.StatusNotFound ||
		got.ContentLength != int64(len(body)) {
		t.Errorf("%d, Content-Length %d of %q", got.StatusCode, got.ContentLength, body)
	}
}
