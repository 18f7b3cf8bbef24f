package authchain

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// attributes turns a request into the questions for the authorizer.
// (kubelet: pkg/kubelet/server/auth.go, GetRequestAttributes)
type attributes struct {
	nodeName    string
	fineGrained bool
}

// verbs has the API verb of each HTTP method. Any other method, HEAD and OPTIONS included, has the empty verb.
var verbs = map[string]string{
	http.MethodPost:   "create",
	http.MethodGet:    "get",
	http.MethodPut:    "update",
	http.MethodPatch:  "patch",
	http.MethodDelete: "delete",
}

// subresources says what a path is called in RBAC: the path itself and all below it. Where ask has two, the second is
// asked when the first is denied; those are asked only with KubeletFineGrainedAuthz, and are nodes/proxy without it.
var subresources = []struct {
	path string
	ask  []string
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

// anyOther is what every path not named above is called.
var anyOther = []string{"proxy"}

func (a attributes) subresources(path string) []string {
	for _, s := range subresources {
		if path != s.path && !(strings.HasPrefix(path, s.path) && path[len(s.path)] == '/') {
			continue
		}
		if len(s.ask) > 1 && !a.fineGrained {
			return anyOther
		}
		return s.ask
	}
	return anyOther
}

// of is one question: may u do this to the node's subresource?
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
