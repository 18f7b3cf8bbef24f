package authchain

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// attributes derives the attributes of a request for the authorizer.
// (kubelet: pkg/kubelet/server/auth.go, GetRequestAttributes)
type attributes struct {
	nodeName    string
	fineGrained bool
}

// verbs maps an HTTP method to the API verb. All other methods, including HEAD and OPTIONS, have the empty verb.
var verbs = map[string]string{
	http.MethodPost:   "create",
	http.MethodGet:    "get",
	http.MethodPut:    "update",
	http.MethodPatch:  "patch",
	http.MethodDelete: "delete",
}

// subresources maps a path, and all paths below it, to the subresources of the node that allow access to it. Paths
// that are not in the map have the subresource proxy. If a path has two subresources, the second is checked when the
// first is denied. Without KubeletFineGrainedAuthz, such a path has only proxy.
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

// Subresources returns the subresources of the node that allow a request for path, in the order in which a kubelet
// checks them: access to one of them suffices. The caller must not change the result. fineGrained is
// [Config.FineGrained].
func Subresources(path string, fineGrained bool) []string {
	for _, s := range subresources {
		if path != s.path && !(strings.HasPrefix(path, s.path) && path[len(s.path)] == '/') {
			continue
		}
		if len(s.checks) > 1 && !fineGrained {
			return proxyOnly
		}
		return s.checks
	}
	return proxyOnly
}

// of returns the attributes of one check: may user u send request r, according to this subresource of the node?
func (a attributes) of(u user.Info, r *http.Request, subresource string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User:            u,
		Verb:            verbs[r.Method],
		APIVersion:      "v1",
		Resource:        "nodes",
		Subresource:     subresource,
		Name:            a.nodeName,
		ResourceRequest: true,
		Path:            r.URL.Path,
	}
}
