package admin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"fauxlet/internal/leastprivilege"
)

// RBAC is the response of /api/rbac: the smallest roles for the requests of a user.
type RBAC struct {
	User   string   `json:"user"`
	Groups []string `json:"groups"` // of the user, at its latest request
	// Decisions is the number of Decisions about the user's requests. Only the kept Decisions count.
	Decisions int `json:"decisions"`
	// Requests are the different requests of the user, sorted by path and method.
	Requests []leastprivilege.Request `json:"requests"`
	// Version is the version of the stand-in that answered the user's latest request, such as v1.35.4. Gates are its
	// feature gates, as [leastprivilege.Kubelets.Gates] returns them.
	Version string                `json:"version,omitempty"`
	Gates   []string              `json:"gates,omitempty"`
	Roles   []leastprivilege.Role `json:"roles"`
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
	node := "" // of the user's latest request
	response, users := RBAC{User: user, Groups: []string{}}, map[string]bool{}
	requests := map[leastprivilege.Request]bool{}
	for _, e := range entries {
		d := e.Decision
		if d.User == nil || d.Method == "" {
			continue
		}
		users[d.User.GetName()] = true
		if d.User.GetName() == user {
			response.Decisions++
			response.Groups, node = append([]string{}, d.User.GetGroups()...), e.Node
			requests[leastprivilege.Request{Method: d.Method, Path: d.Path}] = true
		}
	}
	if response.Decisions == 0 {
		return errorf(http.StatusNotFound, "user %q has sent no request that is still kept; users with requests: %s",
			user, namesOf(users))
	}
	var own *leastprivilege.Kubelets
	if s.options.Facts != nil {
		if c := s.options.Facts(node).Config; c != nil {
			kubelets := leastprivilege.Like(c)
			own = &kubelets
			response.Version, response.Gates = c.Version.GitVersion(), kubelets.Gates()
		}
	}
	response.Requests = slices.SortedFunc(maps.Keys(requests), leastprivilege.Request.Compare)
	response.Roles = leastprivilege.Roles(response.Requests, own)
	for i := range response.Roles {
		response.Manifests = append(response.Manifests, response.Roles[i].Manifest(user))
	}
	return writeJSON(w, http.StatusOK, response)
}

// Compare compares the user's requests with the rights that manifest files grant to the user, as
// [leastprivilege.ReadAndCompare] does.
func (r *RBAC) Compare(standardInput io.Reader, files []string) (*leastprivilege.Report, []string, error) {
	var own *leastprivilege.Kubelets
	if r.Version != "" {
		kubelets, err := leastprivilege.WithGates(r.Version, r.Gates)
		if err != nil {
			return nil, nil, err
		}
		own = &kubelets
	}
	report, warnings, err := leastprivilege.ReadAndCompare(standardInput, files, r.User, r.Groups, r.Requests, own)
	if err != nil {
		return nil, nil, err
	}
	report.Decisions = r.Decisions
	return report, warnings, nil
}

// Write writes the manifests of the roles.
func (r *RBAC) Write(w io.Writer, _ int) {
	fmt.Fprintf(w, "# from %s\n%s", leastprivilege.CountRequests(r.Decisions), strings.Join(r.Manifests, "---\n"))
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
