package faults

import (
	"path"
	"slices"
	"strings"
)

// Target is a connection, a request, a review or a container that a fault may apply to. Fields that are unknown are
// empty. An empty field matches only if the same field of the scope is empty too.
type Target struct {
	Node                      string
	Route, Method             string
	User                      string
	Groups                    []string
	Namespace, Pod, Container string
	// StaticPod is the name of a static pod without the name of the node. It is empty for other pods.
	StaticPod string
	Review    string
}

func (s *Scope) matches(t *Target) bool {
	return matches(s.Node, t.Node) && matchesRoute(s.Route, t.Route) && (s.Method == "" || s.Method == t.Method) &&
		matches(s.User, t.User) &&
		(s.Group == "" || slices.ContainsFunc(t.Groups, func(group string) bool { return matches(s.Group, group) })) &&
		matches(s.Namespace, t.Namespace) && (matches(s.Pod, t.Pod) || matches(s.Pod, t.StaticPod)) &&
		matches(s.Container, t.Container) &&
		(s.Review == "" || s.Review == t.Review)
}

// noSlashes replaces slashes, because in path.Match a * does not match a slash.
var noSlashes = strings.NewReplacer("/", "\x00")

func matches(pattern, name string) bool {
	if pattern == "" || name == "" {
		return pattern == ""
	}
	is, err := path.Match(noSlashes.Replace(pattern), noSlashes.Replace(name))
	return is && err == nil
}

func matchesRoute(pattern, route string) bool {
	if pattern == "" {
		return true
	}
	if above, all := strings.CutSuffix(pattern, "/**"); all {
		segments, depth := strings.Split(route, "/"), strings.Count(above, "/")+1
		if route == "" || len(segments) < depth {
			return false
		}
		pattern, route = above, strings.Join(segments[:depth], "/")
	}
	is, err := path.Match(pattern, route)
	return is && err == nil
}

// selects reports whether the fault's Share selects the n-th match, counted from 0.
func (s *Scope) selects(n int64) bool {
	if s.Share == 0 || s.Share == 1 {
		return true
	}
	// The hash function is splitmix64. Only the upper 53 bits are used, which is the precision of a float64.
	z := uint64(s.Seed) + uint64(n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11)/(1<<53) < s.Share
}
