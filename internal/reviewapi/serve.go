package reviewapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// grace is how long Serve waits for requests in progress after its context has ended.
const grace = 5 * time.Second

// Serve serves the API over TLS on listener, and watches the files, until ctx ends. Then it closes the listener, waits
// for requests in progress, and returns nil. If serving fails earlier, it returns the error. When Serve returns, all
// its goroutines have ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: s.Handler(), BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.serving},
			ClientAuth: tls.RequestClientCert},
		ReadHeaderTimeout: 30 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: 1 << 16, ErrorLog: zap.NewStdLog(s.options.Logger),
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { s.watch(ctx) })
	tasks.Go(func() {
		<-ctx.Done()
		patience, done := context.WithTimeout(context.Background(), grace)
		defer done()
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
	})
	err := server.ServeTLS(listener, "", "")
	cancel()
	tasks.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
