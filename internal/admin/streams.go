package admin

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
)

// maxFollowers is the maximum number of open event streams.
const maxFollowers = 100

// openStreams are the open event streams, oldest first. If there are more than maxFollowers, the oldest stream of the
// client with the most streams ends. One client can therefore not prevent other clients from opening streams.
type openStreams struct {
	mu   sync.Mutex
	open []*openStream
}

type openStream struct {
	client string // IP address
	end    context.CancelFunc
}

// begin adds a stream for a request. The stream must end when the returned context is done. The caller must call the
// returned function when the stream has ended.
func (s *openStreams) begin(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	stream := &openStream{client, cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, stream)
	if len(s.open) > maxFollowers {
		busiest := s.busiest()
		i := slices.IndexFunc(s.open, func(o *openStream) bool { return o.client == busiest })
		s.open[i].end()
		s.open = slices.Delete(s.open, i, i+1)
	}
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(o *openStream) bool { return o == stream })
	}
}

// busiest returns the IP address of the client with the most streams.
func (s *openStreams) busiest() string {
	count, busiest := map[string]int{}, ""
	for _, o := range s.open {
		if count[o.client]++; count[o.client] > count[busiest] {
			busiest = o.client
		}
	}
	return busiest
}

func (s *openStreams) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
