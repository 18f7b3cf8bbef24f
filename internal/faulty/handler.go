package faulty

import (
	"cmp"
	"io"
	"net/http"

	"k8s.io/apiserver/pkg/endpoints/responsewriter"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// Path returns the namespace, pod, UID and container in the path of a request. Missing parts are empty.
type Path = func(path string) (namespace, pod, uid, container string)

// Handler returns a decorator for handlers of authorized requests. Faults can delay a response, replace it by an error,
// slow it down, or end it early. While no fault is active, the decorator returns next itself, so calling the decorator
// for each request is cheap.
func (n *Node) Handler(names Path) func(next http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if n.faults.Empty() {
			return next
		}
		return &handler{n, names, next}
	}
}

type handler struct {
	node  *Node
	names Path
	next  http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := h.target(r)
	if slow := h.node.apply(r.Context(), &target, faults.SlowFirstByte); slow != nil {
		if err := h.node.wait(r.Context(), slow.Delay.Duration); err != nil {
			panic(http.ErrAbortHandler) // the client has disconnected
		}
	}
	if fault := h.node.apply(r.Context(), &target, faults.Status); fault != nil {
		w.WriteHeader(fault.Status)
		io.WriteString(w, cmp.Or(fault.Body, http.StatusText(fault.Status)))
		return
	}
	slow := h.node.apply(r.Context(), &target, faults.SlowBody)
	cut := h.node.apply(r.Context(), &target, faults.Cut)
	if slow == nil && cut == nil {
		h.next.ServeHTTP(w, r)
		return
	}
	out := &responseWriter{ResponseWriter: w, throttle: throttle{node: h.node, ctx: r.Context(), slow: slow, cut: cut}}
	h.next.ServeHTTP(responsewriter.WrapForHTTP1Or2(out), r)
	if out.isCut {
		panic(http.ErrAbortHandler)
	}
}

// target returns the properties of a request that are matched with the scopes of faults.
func (h *handler) target(r *http.Request) faults.Target {
	namespace, pod, _, container := h.names(r.URL.Path)
	t := h.node.podTarget(namespace, pod, container)
	t.Method, t.Route = r.Method, r.URL.Path
	if d := authchain.FromContext(r.Context()); d != nil && d.User != nil {
		t.User, t.Groups = d.User.GetName(), d.User.GetGroups()
	}
	return t
}
