package faulty

import (
	"context"
	"net"
	"net/http"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// ConfigureHTTP decorates a server of one of the node's ports before it serves: its TLS, its handler, and its hooks
// on connections. The connections must come from [Node.Listener].
func (n *Node) ConfigureHTTP(server *http.Server) {
	if server.TLSConfig != nil {
		n.decorateTLS(server.TLSConfig)
	}
	server.Handler = n.allRequests(server.Handler)

	withContext := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if withContext != nil {
			ctx = withContext(ctx, c)
		}
		if faulty := connOf(c); faulty != nil {
			ctx = context.WithValue(ctx, connKey{}, faulty)
		}
		return ctx
	}
	changed := server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if faulty := connOf(c); faulty != nil {
			faulty.setState(state)
		}
		if changed != nil {
			changed(c, state)
		}
	}
}

type connKey struct{}

// allRequests decorates the handler of all requests, before authentication. Its faults affect every request of the
// node: clock-skew and caches-flushed.
func (n *Node) allRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.faults.Version() == nil {
			next.ServeHTTP(w, r)
			return
		}
		if c, _ := r.Context().Value(connKey{}).(*conn); c != nil {
			leaveStale(c, w, r)
		}
		node := n.target()
		var names []string
		if skewed := n.faults.Apply(&node, faults.ClockSkew); skewed != nil {
			names = append(names, skewed.Name)
			w.Header().Set("Date", time.Now().Add(skewed.Skew.Duration).UTC().Format(http.TimeFormat))
		}
		if flushed := n.faults.Apply(&node, faults.CachesFlushed); flushed != nil {
			names = append(names, flushed.Name)
		}
		if len(names) > 0 {
			r = r.WithContext(authchain.WithAffectedBy(r.Context(), names...))
		}
		next.ServeHTTP(w, r)
	})
}

// leaveStale makes a client send its next request over another connection, if faults of connections have begun or
// ended since this connection was made. With HTTP/2, where other requests may be under way, that is after this
// request. With HTTP/1.1 this request is dropped as if the connection had been closed before it came: clients repeat
// it, because an idle connection may always be closed.
func leaveStale(c *conn, w http.ResponseWriter, r *http.Request) {
	if !c.isStale() {
		return
	}
	if r.ProtoMajor > 1 {
		w.Header().Set("Connection", "close")
	} else if c.reused {
		panic(http.ErrAbortHandler)
	}
}
