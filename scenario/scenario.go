// Package scenario reads Scenario files. A Scenario lists the pods of a stand-in kubelet and describes how their
// containers behave: what they log, which resources they use, how they answer commands, and when they start, fail and
// stop.
//
// Begin with [Load]. The page docs/scenario.md is generated from the comments of this package.
package scenario

import (
	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/faults"
)

// APIVersion and Kind are the apiVersion and the kind that every Scenario file must have.
const (
	APIVersion = "fauxlet/v1alpha1"
	Kind       = "Scenario"
)

// Scenario is the content of a Scenario file. Only apiVersion and kind are required.
//
//	apiVersion: fauxlet/v1alpha1
//	kind: Scenario
//	pods:
//	- metadata: {name: nginx}
//	  spec: {containers: [{name: nginx, image: nginx}]}
//	containers:
//	- pod: nginx
//	  log: {interval: 1s}
//	nodeLogs: {kubelet.log: "started\n"}
type Scenario struct {
	// APIVersion must be fauxlet/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind must be Scenario.
	Kind string `json:"kind"`
	// Pods are the pods of the node, as core/v1 Pods. A pod needs a name and containers with names. Other fields that
	// the API server or a kubelet would set get defaults: namespace default, a uid, and the status of a pod that has
	// been running for an hour. When the node is registered in a cluster, these pods are its static pods.
	Pods []*v1.Pod `json:"pods,omitempty"`
	// Containers describe how containers behave. The first entry that matches a container is used, and the other
	// entries are ignored. A container without an entry logs one line per second and runs until it is stopped. If the
	// file is read again (SIGHUP) in a cluster, its entries apply to new pods, and to ephemeral containers that are
	// added later.
	Containers []ContainerEntry `json:"containers,omitempty"`
	// NodeLogs maps the path of each file that /logs/ serves, relative to /var/log, to the content of the file.
	NodeLogs map[string]string `json:"nodeLogs,omitempty"`
	// Nodes is the number of nodes. It may be set only if the process was started with a number of nodes (--nodes), and
	// takes precedence over that number. The default, 0, leaves the number to the command line.
	Nodes int `json:"nodes,omitempty"`
	// Faults are failures to inject from the start. They have the form that `fauxlet fault add -f` reads.
	Faults []Fault `json:"faults,omitempty"`
}

// ContainerEntry describes all containers that its selector matches. In the file, the fields of the selector and of
// the container stand side by side.
//
//	containers:
//	- {pod: nginx, log: {interval: 1s}}
//	- {namespace: ci, pod: "job-*", exits: {after: 10s}}
type ContainerEntry struct {
	Selector  `json:",inline"`
	Container `json:",inline"`
}

// Selector selects containers by name. Each field is a name, or a pattern in the syntax of Go's path.Match: * stands
// for any characters, ? for one character, and [a-z] for one character of a range.
type Selector struct {
	// Namespace is the namespace of the pod. The default is "default".
	Namespace string `json:"namespace,omitempty"`
	// Pod is the name of the pod; it is required. If it is not a pattern, the scenario must have a pod with this name,
	// unless the node is registered in a cluster. For a static pod, use the name in the Scenario file or in the
	// manifest. The pod's name in the cluster is different, because the kubelet adds the node's name to it.
	Pod string `json:"pod"`
	// Container is the name of the container. It may be omitted for a pod with one container. For pods that are not in
	// the scenario, and for patterns, the default is *: every container.
	Container string `json:"container,omitempty"`
}

// Fault is a failure to inject. docs/faults.md describes the kinds of fault and their fields.
//
//	faults:
//	- {kind: cut, after: 1000, pod: nginx, count: 1}
type Fault = faults.Fault

// Pod is a pod, with a description of how each of its containers behaves.
type Pod struct {
	// Pod needs a name, and containers with names. See [Scenario.Pods] for the defaults of the other fields.
	Pod *v1.Pod
	// Containers maps the name of each init, main and ephemeral container of the pod to its description. A container
	// that is missing from the map behaves like the zero [Container].
	Containers map[string]Container
}
