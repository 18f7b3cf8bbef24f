package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/mux"
)

// PathTarget returns the object that the path of a request names: a pod with its namespace, the UID of the pod, and a
// container. A part that the path does not name is the empty string. PathTarget does not check whether the object
// exists.
func PathTarget(path string) (namespace, pod, uid, container string) {
	var match mux.RouteMatch
	r := &http.Request{URL: &url.URL{Path: "/" + strings.Trim(path, "/")}}
	if !allPaths().Match(r, &match) {
		return "", "", "", ""
	}
	return match.Vars["namespace"], match.Vars["pod"], match.Vars["uid"], match.Vars["container"]
}

// Paths returns the beginnings of all paths of a kubelet: each path up to its first variable. They are sorted and
// unique. The caller may change the slice.
func Paths() []string {
	paths := []string{"/flagz", "/healthz", "/metrics/slis", "/statusz"} // not in the table of services
	for _, service := range services {
		for _, route := range service.routes {
			path := service.prefix
			if route.path != "" {
				path = strings.TrimSuffix(path, "/") + route.path
			}
			path, _, _ = strings.Cut(path, "{")
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// allPaths returns a router that matches the paths of all services, whatever the method of the request is.
var allPaths = sync.OnceValue(func() *mux.Router {
	router := mux.NewRouter().SkipClean(true)
	for _, service := range services {
		for _, route := range service.routes {
			router.Path(strings.TrimSuffix(service.prefix, "/") + route.path)
		}
	}
	return router
})
