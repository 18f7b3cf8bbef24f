package server_test

import (
	"io"
	"net/http"
	"testing"

	"fauxlet/authchain"
)

// TestBegin expects Begin when a request arrives, and Observe with the same Decision when it is complete. A Server
// with a negative Drain closes connections with requests under way.
func TestBegin(t *testing.T) {
	began := make(chan *authchain.Decision, 1)
	f := newFixture(t, fixtureOptions{
		lines: 10_000_000, // more than fits between a server and a client who does not read
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
		t.Errorf("began: %s %s", d.Method, d.Path)
	}
	if n := f.seen(); n != 0 {
		t.Errorf("%d Decisions of a request that is under way", n)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the log has come to its end, though the server was stopped")
	}
	if over := f.decision(t, 1); over != d {
		t.Errorf("it began as %p and ended as %p", d, over)
	}
}
