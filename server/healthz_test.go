package server

import (
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"fauxlet/internal/oneconn"
)

// TestHealthzSilentClient checks that healthzPort closes a connection without a request after a minute.
func TestHealthzSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		defer client.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			oneconn.Serve(t.Context(), conn, healthzServer(http.NotFoundHandler()))
		}()
		began := time.Now()
		io.ReadAll(client)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("the connection was closed after %v, want a minute", waited)
		}
		<-done
	})
}
