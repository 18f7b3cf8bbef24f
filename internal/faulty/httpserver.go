package faulty

import (
	"context"
	"net"
	"net/http"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// ConfigureHTTP decorates the http.Server of one of the node's ports: its TLS configuration, its handler, and its
// connection hooks. Call it before the server serves on a listener from [Node.Listener].
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

// allRequests decorates the outermost handler of a port. This handler receives every request, before authentication.
// allRequests records in the Decision the faults that affect every request to the node: clock-skew and caches-flushed.
// It sets the Date header to the skewed time.
func (n *Node) allRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.faults.Unused() {
			next.ServeHTTP(w, r)
			return
		}
		if c, _ := r.Context().Value(connKey{}).(*conn); c != nil {
			leaveStale(c, w, r)
		}
		var names []string
		if skewed := n.applyToNode(faults.ClockSkew); skewed != nil {
			names = append(names, skewed.Name)
			w.Header().Set("Date", time.Now().Add(skewed.Skew.Duration).UTC().Format(http.TimeFormat))
		}
		if flushed := n.applyToNode(faults.CachesFlushed); flushed != nil {
			names = append(names, flushed.Name)
		}
		if len(names) > 0 {
			r = r.WithContext(authchain.WithAffectedBy(r.Context(), names...))
		}
		next.ServeHTTP(w, r)
	})
}

// leaveStale makes a client open a new connection if connection faults have begun or ended since connection c was made.
// On an HTTP/2 connection other requests may be in progress, so the server closes the connection after request r. On an
// HTTP/1.1 connection, leaveStale drops the request, as if the server had closed the idle connection. The client then
// sends the request again on a new connection.
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
