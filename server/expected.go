package server

import (
	"container/list"
	"net/http"
	"sync"
	"time"
)

// expectedStreams are streams that a client has requested, but whose connection has not reached the container runtime
// yet. A stream is added when the container runtime gives its URL to the kubelet. If the client does not upgrade its
// connection, the stream is only removed after a minute. While there are too many expected streams, the container
// runtime refuses further requests. (k8s.io/cri-streaming/pkg/streaming, requestCache)
type expectedStreams struct {
	mu  sync.Mutex
	due list.List // of time.Time: until when a connection may arrive, in order
}

const (
	maxExpected = 1000
	expectedFor = time.Minute
)

// add adds a stream, and returns the handler for its connection. The handler removes the stream and then calls "serve".
// If there are too many streams, add returns the error of a container runtime instead of a handler.
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
