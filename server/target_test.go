package server

import (
	"slices"
	"testing"
)

func TestPathTarget(t *testing.T) {
	for path, want := range map[string][4]string{
		"/containerLogs/default/nginx/app":    {"default", "nginx", "", "app"},
		"/containerLogs/default/nginx/app/":   {"default", "nginx", "", "app"},
		"/containerLogs/default/nginx":        {},
		"/exec/default/nginx/uid-1/app":       {"default", "nginx", "uid-1", "app"},
		"/portForward/default/nginx":          {"default", "nginx", "", ""},
		"/portForward/default/nginx/uid-1":    {"default", "nginx", "uid-1", ""},
		"/allocatedPods/default/nginx":        {"default", "nginx", "", ""},
		"/allocatedPods":                      {},
		"/checkpoint/default/nginx/app":       {"default", "nginx", "", "app"},
		"/pods":                               {},
		"/logs/default/nginx/app":             {},
		"/nothing/default/nginx/app":          {},
		"/run/default/nginx/uid-1/app/beyond": {},
		"":                                    {},
	} {
		namespace, pod, uid, container := PathTarget(path)
		if got := [4]string{namespace, pod, uid, container}; got != want {
			t.Errorf("%q names %q, want %q", path, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	got := Paths()
	for _, want := range []string{"/allocatedPods", "/allocatedPods/", "/containerLogs/", "/debug/pprof/", "/healthz",
		"/logs/", "/metrics", "/pods", "/runningpods/", "/stats/summary"} {
		if !slices.Contains(got, want) {
			t.Errorf("Paths returned %q, want %s among them", got, want)
		}
	}
}
