package server

import (
	"container/list"
	"net/http"
	"sync"
	"time"
)

// expectedStreams are the streams for which the container runtime has given a URL to the kubelet, and whose connections
// have not arrived yet. A client that requests a stream without an upgrade leaves one behind. The container runtime
// refuses further requests if there are too many. (k8s.io/cri-streaming/pkg/streaming, requestCache)
type expectedStreams struct {
	mu  sync.Mutex
	due list.List // of time.Time: until when a connection may arrive, in order
}

const (
	maxExpected = 1000
	expectedFor = time.Minute
)

// add adds a stream. It returns a handler that removes the stream and calls serve, or the error of a container runtime.
func (e *expectedStreams) add(serve http.HandlerFunc) (http.HandlerFunc, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for first := e.due.Front(); first != nil && now.After(first.Value.(time.Time)); first = e.due.Front() {
		e.due.Remove(first)
	}
	if e.due.Len() >= maxExpected {
		return nil, &statusError{status: http.StatusTooManyRequests, retryAfter: "60",
			body: "rpc error: code = ResourceExhausted desc = maximum number of in-flight requests exceeded"}
	}
	stream := e.due.PushBack(now.Add(expectedFor))
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.due.Remove(stream) // has no effect if the stream is no longer in the list
		e.mu.Unlock()
		serve(w, r)
	}, nil
}
