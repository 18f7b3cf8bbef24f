package offline

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
)

// serve has the handler serve r. A handler that gives its connection up, as one does whose answer had begun, panics so.
func serve(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	handler.ServeHTTP(w, r)
}

// enough is how much of an answer is waited for, in bytes.
const enough = 4 << 10

var errEnough = errors.New("offline: the beginning of the answer is enough")

// beginning is a connection on which an answer is waited for until it has begun. What a handler needs of an HTTP/2
// connection it has; to take it over, as streams do, it cannot.
type beginning struct {
	header http.Header
	body   bytes.Buffer
	begun  func()
}

// wantsUpgrade says whether the answer is a stream's to a request that does not ask for one.
// (k8s.io/apimachinery: pkg/util/proxy, UpgradeAwareHandler)
func (b *beginning) wantsUpgrade() bool {
	return strings.HasPrefix(b.body.String(), "Upgrade request required")
}

func (b *beginning) Header() http.Header { return b.header }

func (b *beginning) WriteHeader(int) {}

func (b *beginning) Write(p []byte) (int, error) {
	if b.body.Len()+len(p) > enough {
		b.begun()
		return 0, errEnough
	}
	return b.body.Write(p)
}

// Flush is called where there is more to come: by a log that is followed, for one.
func (b *beginning) Flush() { b.begun() }

// CloseNotify is asked for by those who wrap responses. (k8s.io/apiserver: pkg/endpoints/responsewriter)
func (b *beginning) CloseNotify() <-chan bool { return nil }
