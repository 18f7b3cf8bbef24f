package offline

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
)

// serve calls the handler. A handler panics with http.ErrAbortHandler to abort a response that has begun; serve ends
// normally then.
func serve(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	handler.ServeHTTP(w, r)
}

// maxResponse is how much of a response is kept, in bytes.
const maxResponse = 4 << 10

var errEnough = errors.New("offline: the beginning of the response is enough")

// responseStart is a ResponseWriter that keeps the beginning of a response and then ends the request. It has everything
// that handlers use on an HTTP/2 connection. It cannot be hijacked, so streams are refused.
type responseStart struct {
	header http.Header
	body   bytes.Buffer
	begun  func()
}

// wantsUpgrade reports whether a streaming handler refused the request because it does not ask for an upgrade.
// (k8s.io/apimachinery: pkg/util/proxy, UpgradeAwareHandler)
func (s *responseStart) wantsUpgrade() bool {
	return strings.HasPrefix(s.body.String(), "Upgrade request required")
}

func (s *responseStart) Header() http.Header { return s.header }

func (s *responseStart) WriteHeader(int) {}

func (s *responseStart) Write(p []byte) (int, error) {
	if s.body.Len()+len(p) > maxResponse {
		s.begun()
		return 0, errEnough
	}
	return s.body.Write(p)
}

// Flush ends the request: a handler flushes when it waits for more, such as new lines of a followed log.
func (s *responseStart) Flush() { s.begun() }

// CloseNotify is required by the wrappers of k8s.io/apiserver: pkg/endpoints/responsewriter.
func (s *responseStart) CloseNotify() <-chan bool { return nil }
