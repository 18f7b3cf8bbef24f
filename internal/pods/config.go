package pods

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"fauxlet/internal/podlife"
)

// ContainerConfig describes the environment of a container's commands.
type ContainerConfig struct {
	// Hostname is the hostname of the pod, and IP its address, which may be empty.
	Hostname, IP string
	// Env are environment variables as KEY=value, in order. PATH, HOSTNAME and HOME may be missing. The variables that
	// Read returns replace them.
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
	// Pod holds what an Executor keeps for all containers of the pod.
	Pod *PodState
	// Read, if not nil, reads the environment and the volumes. It may send requests to an API server, so an Executor
	// calls it for the first command, and again before a command when ReadEvery has passed. If Read is nil, there are
	// no volumes.
	Read      func(context.Context) Contents
	ReadEvery time.Duration
}

// The method "environment" returns the environment of a container's current run. The first call creates it.
func (s *Store) environment(e *entry, c *container) (Environment, error) {
	c.run.once.Do(func() { c.run.environment, c.run.err = s.executor.NewEnvironment(s.config(e, c)) })
	return c.run.environment, c.run.err
}

func (s *Store) config(e *entry, c *container) ContainerConfig {
	pod, spec := e.pod, podlife.ContainerSpec(e.pod, c.name)
	s.mu.RLock()
	env := makeEnv(pod, spec, s.allocatable, nil)
	objects, every := s.objects, s.readEvery
	s.mu.RUnlock()
	config := ContainerConfig{
		Pod:        e.state,
		Hostname:   cmp.Or(pod.Spec.Hostname, pod.Name),
		IP:         pod.Status.PodIP,
		Env:        env.list(),
		WorkingDir: spec.WorkingDir,
		Command:    env.expandAll(slices.Concat(spec.Command, spec.Args)),
		Files:      c.described.Files,
		Disk:       c.described.Disk.Value(),
		Started:    pod.CreationTimestamp.Time,
	}
	if status := podlife.ContainerStatus(pod, c.name); isRunning(status) {
		config.Started = status.State.Running.StartedAt.Time
	}
	if objects != nil {
		config.ReadEvery = every
		config.Read = func(ctx context.Context) Contents { return s.read(ctx, e, c) }
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
	return config
}

// imageName returns the last part of an image's name without tag and digest.
func imageName(image string) string {
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, "@")
	image, _, _ = strings.Cut(image, ":")
	return cmp.Or(image, "app")
}
