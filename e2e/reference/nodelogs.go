package main

import (
	"net/http"
	"net/url"
	_ "unsafe" // for go:linkname

	"k8s.io/apimachinery/pkg/util/validation/field"
	_ "k8s.io/kubernetes/pkg/kubelet"
)

// The kubelet does not export its code for queries of the node's logs. Therefore the declarations below link to the
// kubelet's functions by their full names (go:linkname). These functions read the folder /var/log and run journalctl.
// The test that starts this program mounts another folder at /var/log for it, and gives it a PATH with another
// journalctl.

// nodeLogQuery declares only the first fields of the kubelet's type with the same name. Use only values that
// newNodeLogQuery returns, because they have all fields of the kubelet's type.
type nodeLogQuery struct{ services, files []string }

//go:linkname newNodeLogQuery k8s.io/kubernetes/pkg/kubelet.newNodeLogQuery
func newNodeLogQuery(url.Values) (*nodeLogQuery, field.ErrorList)

//go:linkname validateNodeLogQuery k8s.io/kubernetes/pkg/kubelet.(*nodeLogQuery).validate
func validateNodeLogQuery(*nodeLogQuery) field.ErrorList

//go:linkname serveJournal k8s.io/kubernetes/pkg/kubelet.journalServer.ServeHTTP
func serveJournal(struct{}, http.ResponseWriter, *http.Request)

// queryLogs returns a handler for requests to /logs/, from whose path this prefix has been removed. It passes two
// kinds of requests to the handler "next": requests that do not query logs, and queries for a file. For a query, it
// first replaces the path by the name of the file. (kubelet: pkg/kubelet/kubelet.go, Run)
func queryLogs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, errs := newNodeLogQuery(r.URL.Query())
		switch {
		case len(errs) > 0:
			http.Error(w, errs.ToAggregate().Error(), http.StatusBadRequest)
			return
		case query == nil:
			next.ServeHTTP(w, r)
			return
		case r.URL.Path != "" && r.URL.Path != "/":
			http.Error(w, "path not allowed in query mode", http.StatusNotAcceptable)
			return
		}
		if errs := validateNodeLogQuery(query); len(errs) > 0 {
			http.Error(w, errs.ToAggregate().Error(), http.StatusNotAcceptable)
			return
		}
		if len(query.services) > 0 {
			serveJournal(struct{}{}, w, r)
			return
		}
		r.URL.Path = query.files[0]
		next.ServeHTTP(w, r)
	})
}
