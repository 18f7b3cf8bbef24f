package authchain

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// The map "verbs" has the API verb of each HTTP method. Methods that are not in the map, such as HEAD and OPTIONS, have
// the empty verb.
var verbs = map[string]string{
	http.MethodPost: "create", http.MethodGet: "get", http.MethodPut: "update", http.MethodPatch: "patch",
	http.MethodDelete: "delete",
}

// The table "subresources" lists paths, and the node's subresources that give access to each path and to all paths
// below it. For a path that is not in the table, a kubelet checks only the subresource "proxy". If a path has two
// subresources, the kubelet checks the second one only after access to the first has been denied. Without the feature
// gate KubeletFineGrainedAuthz, a path with two subresources has only "proxy".
var subresources = []struct {
	path   string
	checks []string
}{
	{"/allocatedPods", []string{"pods", "proxy"}},
	{"/pods", []string{"pods", "proxy"}},
	{"/runningpods", []string{"pods", "proxy"}},
	{"/healthz", []string{"healthz", "proxy"}},
	{"/configz", []string{"configz", "proxy"}},
	{"/stats", []string{"stats"}},
	{"/metrics", []string{"metrics"}},
	{"/logs", []string{"log"}},
	{"/checkpoint", []string{"checkpoint"}},
	{"/statusz", []string{"statusz"}},
	{"/flagz", []string{"configz"}},
}

var proxyOnly = []string{"proxy"}

// Subresources is like the function [Subresources], for an older kubelet.
func (l *Legacy) Subresources(path string, fineGrained bool) []string {
	for _, unknown := range l.ProxyPaths {
		if isBelow(path, unknown) {
			return proxyOnly
		}
	}
	return Subresources(path, fineGrained)
}

// Verb returns the API verb that a kubelet checks for an HTTP method. It is empty for methods such as HEAD and OPTIONS.
func Verb(method string) string { return verbs[method] }

// isBelow reports whether a path is the given root or a path below it.
func isBelow(path, root string) bool {
	below, ok := strings.CutPrefix(path, root)
	return ok && (below == "" || below[0] == '/')
}

// Subresources returns the node's subresources that a kubelet checks for a request with the given path, in the order of
// the checks. The request is allowed if the client has access to one of them. The caller must not change the result.
// For the argument fineGrained, see [Config.FineGrained]. The subresources are those of a kubelet v1.37, apart from
// fineGrained; for older kubelets, see [Legacy].
func Subresources(path string, fineGrained bool) []string {
	for _, s := range subresources {
		if !isBelow(path, s.path) {
			continue
		}
		if len(s.checks) > 1 && !fineGrained {
			break
		}
		return s.checks
	}
	return proxyOnly
}

// attributesOf returns the attributes of one authorization check of request r from user u. (kubelet:
// pkg/kubelet/server/auth.go, GetRequestAttributes)
func attributesOf(u user.Info, r *http.Request, node, subresource string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{User: u, Verb: verbs[r.Method], APIVersion: "v1", Resource: "nodes",
		Subresource: subresource, Name: node, ResourceRequest: true, Path: r.URL.Path}
}
