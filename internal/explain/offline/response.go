package offline

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
)

// serve calls the handler. A handler panics with http.ErrAbortHandler to abort a response that has begun; serve
// recovers from that panic.
func serve(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	handler.ServeHTTP(w, r)
}

// maxResponse is how many bytes of a response are kept. A longer response ends the request.
const maxResponse = 4 << 10

var errEnough = errors.New("offline: the rest of the response is not read")

// responseStart is a ResponseWriter that keeps the beginning of a response and then ends the request. It implements
// all interfaces that handlers use on an HTTP/2 connection. It is not an http.Hijacker, so handlers refuse to
// upgrade the connection for a stream.
type responseStart struct {
	header http.Header
	body   bytes.Buffer
	begun  func()
}

// wantsUpgrade reports whether a streaming handler refused the request because the request has no upgrade headers.
// (k8s.io/apimachinery: pkg/util/proxy, UpgradeAwareHandler)
func (s *responseStart) wantsUpgrade() bool {
	return strings.HasPrefix(s.body.String(), "Upgrade request required")
}

func (s *responseStart) Header() http.Header { return s.header }
func (s *responseStart) WriteHeader(int)     {}

func (s *responseStart) Write(p []byte) (int, error) {
	if s.body.Len()+len(p) > maxResponse {
		s.begun()
		return 0, errEnough
	}
	return s.body.Write(p)
}

// Flush ends the request. A handler calls Flush before it waits for more output, such as new lines of a followed log.
func (s *responseStart) Flush() { s.begun() }

// CloseNotify implements http.CloseNotifier, because the response wrappers of k8s.io/apiserver require it.
// (pkg/endpoints/responsewriter)
func (s *responseStart) CloseNotify() <-chan bool { return nil }
