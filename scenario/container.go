package scenario

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container describes how a container behaves, beyond what its pod's spec contains. Every field is optional.
//
//	containers:
//	- pod: web
//	  startAfter: 30s
//	  readyAfter: 10s
//	  files: {/etc/motd: "welcome\n"}
type Container struct {
	// Log is the log of the container. The default is one generated line per second, without an end. For a container
	// with stdin, the default is an empty log.
	Log Log `json:"log,omitzero"`
	// Usage describes how much CPU and memory the container uses.
	Usage Usage `json:"usage,omitzero"`
	// State is a state that never changes: Running, a waiting reason, or a reason of termination. The waiting reasons
	// are ContainerCreating, CrashLoopBackOff, CreateContainerConfigError, CreateContainerError, ErrImageNeverPull,
	// ErrImagePull, ImageInspectError, ImagePullBackOff, InvalidImageName, PodInitializing and RunContainerError. The
	// reasons of termination are Completed, ContainerCannotRun, Error and OOMKilled. By default the state follows from
	// the fields below. On a node that is not in a cluster, the default for a pod without a status is Completed for
	// init containers and Running for other containers.
	State string `json:"state,omitempty"`
	// StartAfter is how long the container takes to start the first time, as if it pulled its image. The time counts
	// from the start of the pod or, after init containers, from the end of the last one. The default is 0.
	StartAfter metav1.Duration `json:"startAfter,omitzero"`
	// ReadyAfter is the time from each start of the container until it is Ready. By default the startup and readiness
	// probes of the spec decide: each succeeds after its initialDelaySeconds, plus one periodSeconds for each success
	// beyond the first that its successThreshold requires. The value 0 makes the container Ready at once, whatever its
	// probes are.
	ReadyAfter *metav1.Duration `json:"readyAfter,omitempty"`
	// Exits makes the container end by itself. By default an init container that is not a sidecar ends at once with
	// exit code 0, and every other container runs until it is stopped, whatever its restartPolicy is. A Job therefore
	// needs Exits to complete.
	Exits *Exit `json:"exits,omitempty"`
	// Stops is how the container reacts to SIGTERM, for example when its pod is deleted. By default it ends at once
	// with exit code 0.
	Stops Stop `json:"stops,omitzero"`
	// Exec are scripted answers to commands. The first answer that matches the command of a request is used. Commands
	// without an answer run in a fake shell that has its own files and does not touch the host.
	Exec []ExecAnswer `json:"exec,omitempty"`
	// Files are the files that the container has in addition to the usual system files. Each key is the absolute path
	// of a file, and the value is its content. Commands can read and change the files.
	Files map[string]string `json:"files,omitempty"`
	// Disk is the size of the container's file system in bytes, from 1Mi to 256Mi, for example 64Mi. The default is
	// 32Mi. The content of Files counts towards this size; system files do not. The file system is kept in memory.
	Disk resource.Quantity `json:"disk,omitzero"`

	// Ports are TCP ports on which the container listens, in addition to the ports in its spec. A pod without any port
	// listens on every port.
	Ports []Port `json:"ports,omitempty"`
}

// Log describes the log of a container. At most one of text and file may be set; without them the lines are generated.
//
//	containers:
//	- {pod: web, log: {interval: 100ms, stderr: 0.1}}
//	- {pod: batch, log: {text: "started\ndone\n", previous: {file: crash.log}}}
type Log struct {
	// Seed is any number. The generated lines depend on it, so logs with different seeds have different lines. The
	// default is 0.
	Seed int64 `json:"seed,omitempty"`
	// Start is the time of the first line. In a cluster the default is the time at which the container starts. On a
	// node that is not in a cluster, the default depends on the number of lines. If it is unlimited, the log begins one
	// hour before fauxlet starts. If it is limited, the log begins early enough that its last line is written just
	// before fauxlet starts.
	Start *metav1.Time `json:"start,omitempty"`
	// Interval is the time between two lines. The default is 1s. In a cluster, a container that ends by itself writes
	// all lines that are due later at its end. If it is stopped, for example because its pod is deleted, these lines
	// are missing.
	Interval metav1.Duration `json:"interval,omitzero"`
	// Lines is the number of generated lines. The default, 0, means an unlimited number for a container that runs, and
	// 100 for a container that has ended. In a cluster, a container that has run for a second or longer before it ended
	// has instead the lines that were due until then.
	Lines int64 `json:"lines,omitempty"`
	// Stderr is the share of the lines, from 0 to 1, that go to standard error. The default is 0.
	Stderr float64 `json:"stderr,omitempty"`
	// Text contains the lines of the log. If every line has the CRI's format, as in `2016-10-06T00:17:09.669794202Z
	// stdout F text`, each line also contains its time and stream. Seed and Lines cannot be set together with Text.
	Text string `json:"text,omitempty"`
	// File is the path of a file with the lines of the log, in the form that Text has. A relative path starts at the
	// folder of the Scenario file. The file is read once, when the scenario is loaded. Seed and Lines cannot be set
	// together with File.
	File string `json:"file,omitempty"`
	// Previous is the log of the container's previous run, which `kubectl logs --previous` shows. A container with
	// Previous has been restarted.
	Previous *Log `json:"previous,omitempty"`

	// FileContent is the content of File. [Load] reads the file and sets FileContent. If FileContent is nil, File is
	// read whenever a run of the container is made from this description. A Scenario file cannot contain FileContent.
	FileContent *string `json:"-"`
}

// Usage is the average use of CPU and memory. The metrics vary around it and never exceed the container's limits.
//
//	containers:
//	- {pod: web, usage: {cpu: 250m, memory: 64Mi}}
type Usage struct {
	// CPU is in cores, as in 250m. The default is three quarters of the container's request or, without a request, a
	// small amount that depends on the container's name.
	CPU resource.Quantity `json:"cpu,omitzero"`
	// Memory is the working set in bytes, as in 64Mi. The default is three quarters of the container's request or,
	// without a request, a small amount that depends on the container's name.
	Memory resource.Quantity `json:"memory,omitzero"`
}

// Exit describes how a run of the container ends. The pod's restartPolicy then decides whether the container starts
// again. If it does, it starts after the kubelet's back-off.
//
//	containers:
//	- {namespace: ci, pod: "job-*", exits: {after: 10s, message: done}}
//	- {pod: "flaky-*", exits: {after: 5s, code: 1, times: 2}}
type Exit struct {
	// After is how long a run lasts. The default is 0.
	After metav1.Duration `json:"after,omitzero"`
	// Code is the exit code, from 0 to 255. The default is 0, or the usual code of Reason if that is set: 137 for
	// OOMKilled, 128 for ContainerCannotRun, 1 for Error.
	Code int32 `json:"code,omitempty"`
	// Reason is the reason in the container's status: Completed, Error, OOMKilled or ContainerCannotRun. The default
	// is Completed for exit code 0, and Error for any other.
	Reason string `json:"reason,omitempty"`
	// Message is the text that the container leaves in its terminationMessagePath, at most 4096 bytes.
	Message string `json:"message,omitempty"`
	// Times is the number of runs that end with this exit code. The default, 0, means every run. When that many runs
	// have ended, the next run continues until it is stopped. In an init container that is not a sidecar, the next run
	// instead ends with exit code 0, after the duration in After.
	Times int32 `json:"times,omitempty"`
}

// Stop describes how the container reacts to SIGTERM.
//
//	containers:
//	- {pod: "slow-*", stops: {after: 20s, code: 143}}
type Stop struct {
	// After is how long the container takes to stop. If the pod's grace period is shorter, the container is killed at
	// the end of the grace period, with exit code 137. The default is 0.
	After metav1.Duration `json:"after,omitzero"`
	// Code is the exit code, from 0 to 255. The default is 0.
	Code int32 `json:"code,omitempty"`
}

// ExecAnswer is the scripted result of a command.
//
//	containers:
//	- pod: nginx
//	  exec:
//	  - {command: [nginx, -v], stderr: "nginx version: nginx/1.29.3\n"}
//	  - {command: [nginx, -t], stderr: "[emerg] no such directive\n", exitCode: 1}
type ExecAnswer struct {
	// Command is the command that gets this answer, with one entry per argument. Without Command, every command gets
	// the answer.
	Command []string `json:"command,omitempty"`
	// Delay is the time before the output, from 0 to 24h. The default is 0.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Stdout is written to standard output.
	Stdout string `json:"stdout,omitempty"`
	// Stderr is written to standard error, after Stdout.
	Stderr string `json:"stderr,omitempty"`
	// ExitCode is the exit code of the command, from 0 to 255. The default is 0.
	ExitCode int `json:"exitCode,omitempty"`
}

// Port is a TCP port on which the container listens.
//
//	containers:
//	- pod: nginx
//	  ports:
//	  - {port: 80}
//	  - {port: 9113, forward: 127.0.0.1:8080}
type Port struct {
	// Port is the number, from 1 to 65535. It is required.
	Port int32 `json:"port"`
	// Forward is an address on loopback, as in 127.0.0.1:8080, to which connections are forwarded. Without Forward, the
	// port answers HTTP requests with a page that names the pod and the port.
	Forward string `json:"forward,omitempty"`
}
