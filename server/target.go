package server

import "strings"

// PathTarget returns the namespace, pod and container that the path of a request names; an empty string is one that it does
// not name.
func PathTarget(path string) (namespace, pod, container string) {
	part := strings.Split(strings.Trim(path, "/"), "/")
	switch last := len(part) - 1; part[0] {
	case "containerLogs", "exec", "attach", "run", "checkpoint":
		if last >= 3 { // a UID may stand between pod and container
			return part[1], part[2], part[last]
		}
	case "portForward", "allocatedPods":
		if last >= 2 {
			return part[1], part[2], ""
		}
	}
	return "", "", ""
}
