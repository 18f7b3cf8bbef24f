package pods

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podlife"
)

// Contents are the environment and the volumes of a container.
type Contents struct {
	// Env are environment variables as KEY=value, in order. PATH, HOSTNAME and HOME may be missing.
	Env []string
	// Volumes are the files of the volumes in Mounts, except emptyDir volumes, by the name of the volume.
	Volumes map[string]VolumeFiles
	// Mounts are in the order in which the pod declares them.
	Mounts []Mount
}

// VolumeFiles are the current files of a volume.
type VolumeFiles struct {
	// Files are the files by path, which is relative to the volume and has no "..".
	Files map[string]File
	// Complete is false if files are missing because an object could not be read. A kubelet then keeps all files that
	// the volume had before.
	Complete bool
	// GID is the group of the volume's directory.
	GID int64
}

// File is a file in a volume.
type File struct {
	Content  []byte
	Mode     fs.FileMode // the permissions
	UID, GID int64
}

// Mount is a volume, or a part of it, in a container. A volume that is not an emptyDir is read-only.
type Mount struct {
	// Volume is the name of the volume.
	Volume string
	// Path is the place in the container. SubPath is what is mounted there, relative to the volume.
	Path, SubPath string
	ReadOnly      bool
	// EmptyDir is nil for other volumes. All containers of a pod share the files of an emptyDir.
	EmptyDir *EmptyDir
}

// EmptyDir describes an emptyDir volume. A Size of 0 means no limit in the pod. GID is the group of its directory.
type EmptyDir struct{ Size, GID int64 }

// variables returns the environment variables of the current run of a container.
func (s *Store) variables(ctx context.Context, e *entry, c *container) *variables {
	if env := c.run.variables.Load(); env != nil {
		return env
	}
	s.mu.RLock()
	allocatable := s.allocatable
	s.mu.RUnlock()
	r := s.reader(ctx, e)
	env := makeEnv(e.pod, podlife.ContainerSpec(e.pod, c.name), allocatable, r)
	if r == nil || r.complete {
		c.run.variables.Store(env)
	}
	return env
}

// reader returns a reader for the objects of a pod, or nil if the Store has no Objects.
func (s *Store) reader(ctx context.Context, e *entry) *reader {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.objects == nil {
		return nil
	}
	return &reader{ctx: ctx, objects: s.objects, pod: e.pod, state: e.state, read: map[string]*object{}, complete: true}
}

// The method "read" reads the environment and the volumes of a container.
func (s *Store) read(ctx context.Context, e *entry, c *container) Contents {
	env := s.variables(ctx, e, c)
	if now := s.used(e.pod.Namespace, e.pod.Name); now != nil && now.pod.UID == e.pod.UID {
		e = now // its labels may have changed
	}
	s.mu.RLock()
	allocatable := s.allocatable
	s.mu.RUnlock()
	contents := Contents{Env: env.list(), Volumes: map[string]VolumeFiles{}}
	r, spec := s.reader(ctx, e), podlife.ContainerSpec(e.pod, c.name)
	if spec == nil {
		return contents
	}
	for _, m := range spec.VolumeMounts {
		for i := range e.pod.Spec.Volumes {
			volume := &e.pod.Spec.Volumes[i]
			if volume.Name != m.Name {
				continue
			}
			mount := Mount{Volume: m.Name, Path: m.MountPath, SubPath: m.SubPath, ReadOnly: m.ReadOnly}
			if m.SubPathExpr != "" {
				mount.SubPath = env.expand(m.SubPathExpr)
			}
			if emptyDir := volume.EmptyDir; emptyDir != nil {
				mount.EmptyDir = &EmptyDir{GID: fsGroup(e.pod)}
				if emptyDir.SizeLimit != nil {
					mount.EmptyDir.Size = emptyDir.SizeLimit.Value()
				}
			} else if _, done := contents.Volumes[m.Name]; !done {
				files := newVolumeFiles(r, allocatable)
				if !files.add(volume) {
					continue // a volume that fauxlet does not mount, such as a hostPath
				}
				contents.Volumes[m.Name] = VolumeFiles{files.files, r.complete, fsGroup(e.pod)}
			}
			contents.Mounts = append(contents.Mounts, mount)
		}
	}
	return contents
}

func fsGroup(pod *v1.Pod) int64 {
	if c := pod.Spec.SecurityContext; c != nil {
		return ptr.Deref(c.FSGroup, 0)
	}
	return 0
}

// volumeFiles collects the files of a volume.
type volumeFiles struct {
	*reader
	allocatable v1.ResourceList
	mode        *int32 // the default mode
	files       map[string]File
}

// newVolumeFiles marks the reader as complete, because the reader of all volumes is the same.
func newVolumeFiles(r *reader, allocatable v1.ResourceList) *volumeFiles {
	r.complete = true
	return &volumeFiles{reader: r, allocatable: allocatable, files: map[string]File{}}
}

// add adds the files of a volume. It returns false if the files of this type of volume come from elsewhere.
func (f *volumeFiles) add(volume *v1.Volume) bool {
	switch {
	case volume.ConfigMap != nil:
		from := volume.ConfigMap
		f.mode = from.DefaultMode
		f.addObject(configMap, from.Name, from.Items, from.Optional)
	case volume.Secret != nil:
		from := volume.Secret
		f.mode = from.DefaultMode
		f.addObject(secret, from.SecretName, from.Items, from.Optional)
	case volume.DownwardAPI != nil:
		f.mode = volume.DownwardAPI.DefaultMode
		f.addFields(volume.DownwardAPI.Items)
	case volume.Projected != nil:
		f.mode = volume.Projected.DefaultMode
		for _, source := range volume.Projected.Sources {
			switch {
			case source.ConfigMap != nil:
				f.addObject(configMap, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional)
			case source.Secret != nil:
				f.addObject(secret, source.Secret.Name, source.Secret.Items, source.Secret.Optional)
			case source.DownwardAPI != nil:
				f.addFields(source.DownwardAPI.Items)
			case source.ServiceAccountToken != nil:
				f.addToken(volume.Name, source.ServiceAccountToken)
			}
		}
	default:
		return false
	}
	return true
}

func (f *volumeFiles) put(name string, content []byte, mode *int32) {
	bits := ptr.Deref(mode, ptr.Deref(f.mode, v1.ConfigMapVolumeSourceDefaultMode))
	f.putFile(name, File{Content: content, Mode: fs.FileMode(bits)})
}

// putFile adds a file. With an fsGroup, its group can read it. (kubelet: pkg/volume, VolumeOwnership)
func (f *volumeFiles) putFile(name string, file File) {
	if group := fsGroup(f.pod); group != 0 {
		file.GID = group
		file.Mode |= 0o440
	}
	f.files[path.Clean(name)] = file
}

// addObject adds the keys of a ConfigMap or Secret: all keys, or only the given items. (kubelet: MakePayload in
// pkg/volume/configmap and pkg/volume/secret)
func (f *volumeFiles) addObject(kind, name string, items []v1.KeyToPath, optional *bool) {
	o := f.object(kind, name, optional)
	switch {
	case o == nil:
		f.complete = false
		return
	case len(items) == 0:
		for key, content := range o.files {
			f.put(key, content, nil)
		}
	}
	for _, item := range items {
		if content, found := o.files[item.Key]; found {
			f.put(item.Path, content, item.Mode)
		} else {
			f.noKey(kind, name, item.Key, optional)
		}
	}
}

// addFields adds files with fields of the pod. (kubelet: pkg/volume/downwardapi, CollectData)
func (f *volumeFiles) addFields(items []v1.DownwardAPIVolumeFile) {
	for _, item := range items {
		var content string
		switch {
		case item.FieldRef != nil:
			content = fieldText(f.pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			content, _ = resourceValue(f.pod, nil, item.ResourceFieldRef, f.allocatable)
		}
		f.put(item.Path, []byte(content), item.Mode)
	}
}

// addToken adds a file with a token. Its mode is 0600 if all containers of the pod have the same user, who then owns
// the file, or if the pod has an fsGroup. (kubelet: pkg/volume/projected, collectData; pkg/volume/util, FsUserFrom)
func (f *volumeFiles) addToken(volume string, from *v1.ServiceAccountTokenProjection) {
	content, found := f.token(volume, from)
	if !found {
		return
	}
	file := File{Content: []byte(content), Mode: fs.FileMode(ptr.Deref(f.mode, v1.ProjectedVolumeSourceDefaultMode))}
	user := userOf(f.pod)
	if user != nil || fsGroup(f.pod) != 0 {
		file.Mode, file.UID = 0o600, ptr.Deref(user, 0)
	}
	f.putFile(from.Path, file)
}

// userOf returns the user in the pod's spec if it is the same for all containers, or else nil.
func userOf(pod *v1.Pod) *int64 {
	var user *int64
	for _, name := range podlife.ContainerNames(pod) {
		var of *int64
		if c := pod.Spec.SecurityContext; c != nil {
			of = c.RunAsUser
		}
		if c := podlife.ContainerSpec(pod, name).SecurityContext; c != nil && c.RunAsUser != nil {
			of = c.RunAsUser
		}
		if of == nil || user != nil && *user != *of {
			return nil
		}
		user = of
	}
	return user
}

// fieldText returns the content of a file with a field of a pod. A list of labels or annotations has one line for each.
// (kubelet: pkg/fieldpath, ExtractFieldPathAsString)
func fieldText(pod *v1.Pod, path string) string {
	all, isMap := map[string]map[string]string{"metadata.labels": pod.Labels,
		"metadata.annotations": pod.Annotations}[path]
	if !isMap {
		value, _ := fieldValue(pod, path)
		return value
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, key+"="+strconv.Quote(all[key]))
	}
	return strings.Join(lines, "\n")
}
