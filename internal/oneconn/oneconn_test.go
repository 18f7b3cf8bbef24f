package oneconn_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"fauxlet/internal/oneconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(t *testing.T) (client, served net.Conn) {
	t.Helper()
	client, served, err := oneconn.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); served.Close() })
	return client, served
}

func TestServeHandlesRequestsUntilClientCloses(t *testing.T) {
	client, conn := pair(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		oneconn.Serve(context.Background(), conn,
			&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.URL.Path)
			})})
	}()
	reader := bufio.NewReader(client)
	for _, path := range []string{"/one", "/two"} {
		go fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != path {
			t.Errorf("got %q, want %q", body, path)
		}
	}
	client.Close()
	<-ended
}

// TestHijackedRequestIsCanceledWhenClientCloses checks that the context of a hijacked request is cancelled when the
// client closes the connection, and that Serve then waits until the handler has closed the connection on the server's
// side.
func TestHijackedRequestIsCanceledWhenClientCloses(t *testing.T) {
	client, conn := pair(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		oneconn.Serve(context.Background(), conn,
			&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				taken, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer taken.Close()
				go io.Copy(io.Discard, taken)
				<-r.Context().Done()
			})})
	}()
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	<-ended
}

func TestContextEndsConnection(t *testing.T) {
	client, conn := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		oneconn.Serve(ctx, conn, &http.Server{Handler: http.NotFoundHandler()})
	}()
	cancel()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	<-ended
}

// TestWriteToClosedEnd writes to an end of a Pair after the other end has closed. The data must be lost without an
// error until there is more of it than a send buffer holds. Data that the closed end sent before it closed can still be
// read.
func TestWriteToClosedEnd(t *testing.T) {
	near, far := pair(t)
	if _, err := io.WriteString(far, "refused"); err != nil {
		t.Fatal(err)
	}
	far.Close()
	body := strings.Repeat("x", 1<<10)
	for i := range 65 {
		if _, err := io.WriteString(near, body); (err == nil) != (i < 64) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if answer, err := io.ReadAll(near); string(answer) != "refused" {
		t.Errorf("%q, %v", answer, err)
	}
}
