package pods

import (
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

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
	// Command is the command of process 1.
	Command []string
	// Files are the initial contents of files by absolute path.
	Files map[string]string
	// Started is when process 1 was started.
	Started time.Time
}

// environment returns the environment of a container's current run. The first call creates the environment.
func (e *entry) environment(executor Executor, c *container) (Environment, error) {
	c.run.once.Do(func() { c.run.environment, c.run.err = executor.NewEnvironment(e.config(c)) })
	return c.run.environment, c.run.err
}

// config derives the config from the pod and the scenario.
func (e *entry) config(c *container) ContainerConfig {
	pod, spec := e.pod, podlife.ContainerSpec(e.pod, c.name)
	config := ContainerConfig{
		Hostname:   pod.Name,
		IP:         pod.Status.PodIP,
		WorkingDir: spec.WorkingDir,
		Command:    slices.Concat(spec.Command, spec.Args),
		Files:      c.described.Files,
		Started:    pod.CreationTimestamp.Time,
	}
	if pod.Spec.Hostname != "" {
		config.Hostname = pod.Spec.Hostname
	}
	if status := podlife.ContainerStatus(pod, c.name); isRunning(status) {
		config.Started = status.State.Running.StartedAt.Time
	}
	if len(config.Command) == 0 {
		config.Command = []string{"/" + imageName(spec.Image)}
	}
	if c := pod.Spec.SecurityContext; c != nil {
		setIfGiven(&config.UID, c.RunAsUser)
		setIfGiven(&config.GID, c.RunAsGroup)
	}
	if c := spec.SecurityContext; c != nil {
		setIfGiven(&config.UID, c.RunAsUser)
		setIfGiven(&config.GID, c.RunAsGroup)
	}
	for _, variable := range spec.Env {
		if value, found := variableValue(pod, variable); found {
			config.Env = append(config.Env, variable.Name+"="+value)
		}
	}
	for _, variable := range []string{
		"SERVICE_HOST=10.96.0.1", "SERVICE_PORT=443", "SERVICE_PORT_HTTPS=443", "PORT=tcp://10.96.0.1:443",
	} {
		config.Env = append(config.Env, "KUBERNETES_"+variable)
	}
	return config
}

func setIfGiven(field *int64, value *int64) {
	if value != nil {
		*field = *value
	}
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
	switch variable.ValueFrom.FieldRef.FieldPath {
	case "metadata.name":
		return pod.Name, true
	case "metadata.namespace":
		return pod.Namespace, true
	case "metadata.uid":
		return string(pod.UID), true
	case "spec.nodeName":
		return pod.Spec.NodeName, true
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, true
	case "status.podIP":
		return pod.Status.PodIP, true
	case "status.hostIP":
		return pod.Status.HostIP, true
	}
	return "", false
}

// imageName returns the last part of an image's name without tag and digest.
func imageName(image string) string {
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, "@")
	image, _, _ = strings.Cut(image, ":")
	if image == "" {
		return "app"
	}
	return image
}
