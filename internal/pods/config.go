package pods

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podlife"
)

// ContainerConfig describes the environment of a container's commands.
type ContainerConfig struct {
	// Hostname is the hostname of the pod, and IP its address, which may be empty.
	Hostname, IP string
	// Env are environment variables as KEY=value, in order. PATH, HOSTNAME and HOME may be missing.
	Env []string
	// UID and GID are the user and group of the commands.
	UID, GID int64
	// WorkingDir is the absolute path of the folder in which commands start. Empty means "/".
	WorkingDir string
	// Files are the initial contents of files by absolute path.
	Files map[string]string
	// Disk is the size of the file system in bytes. With 0 the Executor decides.
	Disk int64
	// Command is the command of process 1. Started is when process 1 was started.
	Command []string
	Started time.Time
}

// environment returns the environment of a container's current run. The first call creates the environment.
func (e *entry) environment(executor Executor, c *container) (Environment, error) {
	c.run.once.Do(func() { c.run.environment, c.run.err = executor.NewEnvironment(e.config(c)) })
	return c.run.environment, c.run.err
}

func (e *entry) config(c *container) ContainerConfig {
	pod, spec := e.pod, podlife.ContainerSpec(e.pod, c.name)
	config := ContainerConfig{
		Hostname:   cmp.Or(pod.Spec.Hostname, pod.Name),
		IP:         pod.Status.PodIP,
		WorkingDir: spec.WorkingDir,
		Command:    slices.Concat(spec.Command, spec.Args),
		Files:      c.described.Files,
		Disk:       c.described.Disk.Value(),
		Started:    pod.CreationTimestamp.Time,
	}
	if status := podlife.ContainerStatus(pod, c.name); isRunning(status) {
		config.Started = status.State.Running.StartedAt.Time
	}
	if len(config.Command) == 0 {
		config.Command = []string{"/" + imageName(spec.Image)}
	}
	if c := pod.Spec.SecurityContext; c != nil {
		config.UID, config.GID = ptr.Deref(c.RunAsUser, 0), ptr.Deref(c.RunAsGroup, 0)
	}
	if c := spec.SecurityContext; c != nil {
		config.UID, config.GID = ptr.Deref(c.RunAsUser, config.UID), ptr.Deref(c.RunAsGroup, config.GID)
	}
	for _, variable := range spec.Env {
		if value, found := variableValue(pod, variable); found {
			config.Env = append(config.Env, variable.Name+"="+value)
		}
	}
	config.Env = append(config.Env, "KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443",
		"KUBERNETES_SERVICE_PORT_HTTPS=443", "KUBERNETES_PORT=tcp://10.96.0.1:443")
	return config
}

// variableValue returns the value of an environment variable if the pod alone determines it: a literal, or a
// reference to a field of the pod. The contents of ConfigMaps and Secrets are not available.
func variableValue(pod *v1.Pod, variable v1.EnvVar) (value string, found bool) {
	if variable.ValueFrom == nil {
		return variable.Value, true
	}
	if variable.ValueFrom.FieldRef == nil {
		return "", false
	}
	value, found = map[string]string{
		"metadata.name":           pod.Name,
		"metadata.namespace":      pod.Namespace,
		"metadata.uid":            string(pod.UID),
		"spec.nodeName":           pod.Spec.NodeName,
		"spec.serviceAccountName": pod.Spec.ServiceAccountName,
		"status.podIP":            pod.Status.PodIP,
		"status.hostIP":           pod.Status.HostIP,
	}[variable.ValueFrom.FieldRef.FieldPath]
	return value, found
}

// imageName returns the last part of an image's name without tag and digest.
func imageName(image string) string {
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, "@")
	image, _, _ = strings.Cut(image, ":")
	return cmp.Or(image, "app")
}
