package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"fauxlet/internal/leastprivilege"
)

// RBAC is the response of /api/rbac: the smallest roles for the requests of a user.
type RBAC struct {
	User string `json:"user"`
	// Decisions is the number of Decisions about the user's requests. Only the kept Decisions count.
	Decisions int                   `json:"decisions"`
	Roles     []leastprivilege.Role `json:"roles"`
	// Manifests has a ClusterRole and a ClusterRoleBinding for each element of Roles, as YAML.
	Manifests []string `json:"manifests"`
}

// RBAC returns the smallest roles that allow what a user has requested.
func (c *Client) RBAC(ctx context.Context, user string) (*RBAC, error) {
	var response RBAC
	return &response, c.call(ctx, http.MethodGet, "/api/rbac?"+url.Values{"user": {user}}.Encode(), nil, &response)
}

// getRBAC looks at the requests of a user, whether they were allowed or not.
func (s *Server) getRBAC(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	user := query.Get("user")
	for name := range query {
		if name != "user" {
			return errorf(http.StatusBadRequest, "unknown parameter %q; the only parameter is user", name)
		}
	}
	entries, _ := s.recorder.After(0)
	response, requests, users := RBAC{User: user}, map[leastprivilege.Request]bool{}, map[string]bool{}
	for _, e := range entries {
		d := e.Decision
		if d.User == nil || d.Method == "" {
			continue
		}
		users[d.User.GetName()] = true
		if d.User.GetName() == user {
			response.Decisions++
			requests[leastprivilege.Request{Method: d.Method, Path: d.Path}] = true
		}
	}
	if response.Decisions == 0 {
		return errorf(http.StatusNotFound, "user %q has sent no request that is still kept; users with requests: %s",
			user, namesOf(users))
	}
	response.Roles = leastprivilege.Roles(slices.Collect(maps.Keys(requests)))
	for i := range response.Roles {
		response.Manifests = append(response.Manifests, response.Roles[i].Manifest(user))
	}
	return writeJSON(w, http.StatusOK, response)
}

// namesOf lists users for an error.
func namesOf(users map[string]bool) string {
	const most = 10
	names := slices.Sorted(maps.Keys(users))
	if len(names) == 0 {
		return "none"
	}
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(", and %d more", len(names)-most)
	}
	return strings.Join(names, ", ") + more
}
