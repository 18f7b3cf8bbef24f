package server_test

import (
	"io"
	"net/http"
	"testing"

	"fauxlet/authchain"
)

// TestBegin expects a call of Begin when a request arrives, and a call of Observe with the same Decision when the
// request is complete. It also expects that a Server with a negative Drain closes connections with requests in
// progress.
func TestBegin(t *testing.T) {
	began := make(chan *authchain.Decision, 1)
	f := newFixture(t, fixtureOptions{
		lines: 10_000_000, // too long for the connection's buffers while the client does not read
		drain: -1,
		begin: func(d *authchain.Decision) { began <- d },
	})
	response, err := f.withToken(t, "the-token-of-kubelet-client").Get(f.url + "/containerLogs/default/nginx/nginx")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	d := <-began
	if d.Method != http.MethodGet || d.Path != "/containerLogs/default/nginx/nginx" {
		t.Errorf("Begin was called with %s %s", d.Method, d.Path)
	}
	if n := f.seen(); n != 0 {
		t.Errorf("Observe was called %d times before the request was complete", n)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the client received the whole log, although the server was stopped")
	}
	if over := f.decision(t, 1); over != d {
		t.Errorf("Begin received the Decision %p, and Observe %p", d, over)
	}
}
