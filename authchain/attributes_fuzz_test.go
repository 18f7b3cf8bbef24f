package authchain

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// FuzzAttributes checks the attributes of any method and path against the kubelet's rules. subresourcesByRule and
// verbByRule implement these rules independently of the code under test. (kubelet: pkg/kubelet/server/auth.go,
// GetRequestAttributes)
func FuzzAttributes(f *testing.F) {
	for _, path := range []string{
		"/", "", "*", "/pods", "/pods/", "/podsx", "/allocatedPods/default/nginx", "/runningpods/", "/runningpods",
		"/runningPods/", "/healthz/ping",
		"/healthz", "/configz", "/configz/x", "/stats/summary", "/stats", "/statsx", "/metrics/cadvisor", "/metricsx",
		"/logs/kubelet.log", "/log",
		"/checkpoint/a/b/c", "/statusz", "/flagz", "/flagz/", "/exec/a/b/c", "//pods", "/pods//", "/./pods",
		"/pods/../exec", "/PODS", "/pods\x00", "/stats%2fsummary",
	} {
		f.Add(http.MethodGet, path, "node-1", true)
		f.Add(http.MethodPost, path, "node-1", false)
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "get", "", "PROPFIND"} {
		f.Add(method, "/pods", "", true)
	}
	f.Fuzz(func(t *testing.T, method, path, node string, fineGrained bool) {
		u := &user.DefaultInfo{Name: "jane"}
		request := &http.Request{Method: method, URL: &url.URL{Path: path}}
		asked := Subresources(path, fineGrained)

		if want := subresourcesByRule(path, fineGrained); !slices.Equal(asked, want) {
			t.Errorf("the subresources of %s are %q; a kubelet checks %q", path, asked, want)
		}
		for _, subresource := range asked {
			want := authorizer.AttributesRecord{
				User: u, Verb: verbByRule(method), APIVersion: "v1", Resource: "nodes", Subresource: subresource,
				Name:            node,
				ResourceRequest: true, Path: path,
			}
			got := attributesOf(u, request, node, subresource)
			if got.User != want.User {
				t.Errorf("the check names the user %v", got.User)
			}
			got.User, want.User = nil, nil
			if !sameAttributes(got, want) {
				t.Errorf("the attributes of %s %s are %+v, want %+v", method, path, got, want)
			}
		}
	})
}

// sameAttributes compares only the attributes that a SubjectAccessReview contains.
func sameAttributes(a, b authorizer.AttributesRecord) bool {
	return a.Verb == b.Verb && a.Namespace == b.Namespace && a.APIGroup == b.APIGroup &&
		a.APIVersion == b.APIVersion &&
		a.Resource == b.Resource && a.Subresource == b.Subresource && a.Name == b.Name &&
		a.ResourceRequest == b.ResourceRequest && a.Path == b.Path
}

func verbByRule(method string) string {
	switch method {
	case "GET":
		return "get"
	case "POST":
		return "create"
	case "PUT":
		return "update"
	case "PATCH":
		return "patch"
	case "DELETE":
		return "delete"
	}
	return ""
}

// subresourcesByRule returns the subresources that a kubelet checks for a path, in the order of the checks. Most paths
// have one subresource, usually "proxy". With fineGrained, some paths have two: a fine-grained subresource and then
// "proxy".
func subresourcesByRule(path string, fineGrained bool) []string {
	under := func(segment string) bool { return strings.HasPrefix(path+"/", "/"+segment+"/") }
	coarse := "proxy"
	switch {
	case under("stats"), under("metrics"), under("checkpoint"), under("statusz"):
		coarse, _, _ = strings.Cut(path[1:], "/")
	case under("logs"):
		coarse = "log"
	case under("flagz"):
		coarse = "configz"
	}
	fine := ""
	switch {
	case under("pods"), under("allocatedPods"), under("runningpods"):
		fine = "pods"
	case under("healthz"), under("configz"):
		fine, _, _ = strings.Cut(path[1:], "/")
	}
	if !fineGrained || fine == "" {
		return []string{coarse}
	}
	return []string{fine, coarse}
}
