package shell

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"fauxlet/internal/pods"
)

// volumesOf returns a function for ContainerConfig.Read that returns the contents at c, and counts its calls.
func volumesOf(c *pods.Contents, calls *int) func(*Config) {
	return func(config *Config) {
		config.Env, config.ReadEvery = nil, time.Minute
		config.Read = func(context.Context) pods.Contents {
			*calls++
			copied := *c
			copied.Volumes = maps.Clone(c.Volumes)
			return copied
		}
	}
}

func filesIn(complete bool, namesAndContents ...string) pods.VolumeFiles {
	v := pods.VolumeFiles{Files: map[string]pods.File{}, Complete: complete}
	for i := 0; i < len(namesAndContents); i += 2 {
		v.Files[namesAndContents[i]] = pods.File{Content: []byte(namesAndContents[i+1]), Mode: 0o640, GID: 7}
	}
	return v
}

func TestVolumes(t *testing.T) {
	contents := &pods.Contents{
		Env: []string{"FROM=config"},
		Volumes: map[string]pods.VolumeFiles{
			"config": filesIn(true, "a", "one\n", "dir/b", "two\n"),
			"empty":  filesIn(true),
		},
		Mounts: []pods.Mount{
			{Volume: "config", Path: "/etc/config/deep/sub", SubPath: "dir"},
			{Volume: "config", Path: "/etc/config"},
			{Volume: "config", Path: "/etc/motd", SubPath: "a"},
			{Volume: "empty", Path: "/none"},
			{Volume: "scratch", Path: "/scratch", EmptyDir: &pods.EmptyDir{}},
			{Volume: "scratch", Path: "/scratch/again", EmptyDir: &pods.EmptyDir{}},
			{Volume: "scratch", Path: "/read", SubPath: "sub", ReadOnly: true, EmptyDir: &pods.EmptyDir{}},
		},
	}
	for _, test := range []struct{ name, script, stdout, stderr string }{
		{name: "files", script: "cat /etc/config/a /etc/config/dir/b /etc/motd /etc/config/deep/sub/b",
			stdout: "one\ntwo\none\ntwo\n"},
		{name: "environment", script: "echo $FROM $HOSTNAME", stdout: "config web-0\n"},
		{name: "links", script: "readlink /etc/config/a /etc/config/..data/../a; ls /etc/config; ls -A /none",
			stdout: "..data/a\n..data/a\na\ndeep\ndir\n..2026_03_02_14_05_00.000000000\n..data\n"},
		{name: "mode", script: "ls -l /etc/config/..data/a", stdout: "-rw-r-----    1 root     7                4 " +
			"Mar  2 14:05 /etc/config/..data/a\n"},
		{name: "mounted file in a list", script: "ls -l /etc | grep motd",
			stdout: "-rw-r-----    1 root     7                4 Mar  2 14:05 motd\n"},
		{name: "read-only", script: "echo x > /etc/config/a; echo x > /etc/config/new; rm /etc/config/a; " +
			"mkdir /read/x; chmod 777 /etc/config/a; mv /etc/config/a /tmp/a; touch /read/y; echo x > /etc/motd",
			stderr: "sh: can't create /etc/config/a: Read-only file system\n" +
				"sh: can't create /etc/config/new: Read-only file system\n" +
				"rm: can't remove '/etc/config/a': Read-only file system\n" +
				"mkdir: can't create directory '/read/x': Read-only file system\n" +
				"chmod: /etc/config/a: Read-only file system\n" +
				"mv: can't rename '/etc/config/a': Read-only file system\n" +
				"touch: /read/y: Read-only file system\n" +
				"sh: can't create /etc/motd: Read-only file system\n"},
		{name: "one emptyDir", script: "echo x > /scratch/sub/f; cat /read/f /scratch/again/sub/f; ls /scratch/again",
			stdout: "x\nx\nagain\nsub\n"},
		{name: "busy", script: "rm -r /scratch; mv /scratch /tmp/s; rmdir /scratch/again; mv /tmp /none; rm -r /etc",
			stderr: "rm: can't remove '/scratch': Device or resource busy\n" +
				"mv: can't rename '/scratch': Device or resource busy\n" +
				"rmdir: '/scratch/again': Device or resource busy\n" +
				"mv: can't rename '/tmp': Read-only file system\n" +
				"rm: can't remove '/etc': Device or resource busy\n"},
		{name: "move between volumes", script: "mkdir /tmp/d; echo 1 > /tmp/d/f; mv /tmp/d /scratch; " +
			"cat /scratch/d/f; ls /tmp; ln /scratch/d/f /tmp/f; mv /scratch/d/f /tmp/g; cat /tmp/g; ls /scratch/d",
			stdout: "1\n1\n", stderr: "ln: /scratch/d/f: Cross-device link\n"},
		{name: "edit in a volume", script: "echo abc > /scratch/e; sed -i s/b/x/ /scratch/e; cat /scratch/e; " +
			"rm /scratch/e; sed -i s/a/b/ /scratch/e", stdout: "axc\n",
			stderr: "sed: can't open '/scratch/e': No such file or directory\n"},
		{name: "find", script: "find /scratch -type d", stdout: "/scratch\n/scratch/again\n/scratch/again/again\n" +
			"/scratch/again/sub\n/scratch/sub\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			c := newContainer(t, volumesOf(contents, &calls))
			got := sh(t, c, test.script)
			if got.stdout != test.stdout || got.stderr != test.stderr {
				t.Errorf("stdout %q\n want %q\nstderr %q\n  want %q", got.stdout, test.stdout, got.stderr, test.stderr)
			}
			if calls != 1 {
				t.Errorf("the volumes were read %d times", calls)
			}
		})
	}
}

// TestVolumesChange checks when a container sees new versions of its volumes.
func TestVolumesChange(t *testing.T) {
	contents := &pods.Contents{
		Volumes: map[string]pods.VolumeFiles{"v": filesIn(true, "a", "one\n", "b", "old\n")},
		Mounts:  []pods.Mount{{Volume: "v", Path: "/v"}, {Volume: "v", Path: "/file", SubPath: "a"}},
	}
	calls := 0
	c := newContainer(t, volumesOf(contents, &calls))
	now := started
	var lock sync.Mutex
	c.now = func() time.Time { lock.Lock(); defer lock.Unlock(); return now }
	later := func(d time.Duration, files pods.VolumeFiles) {
		lock.Lock()
		defer lock.Unlock()
		now = now.Add(d)
		contents.Volumes["v"] = files
	}
	wants := func(script, stdout string) {
		t.Helper()
		if got := sh(t, c, script); got.stdout != stdout || got.stderr != "" {
			t.Errorf("%s: %+v, want %q", script, got, stdout)
		}
	}
	used := func() int64 { return c.memory.used.Load() }
	wants("cat /v/a /v/b /file", "one\nold\none\n")
	before := used()
	later(time.Second, filesIn(true, "a", "two\n"))
	wants("cat /v/a /file", "one\none\n")
	later(time.Minute, filesIn(true, "a", "two\n"))
	wants("cat /v/a /file; ls /v", "two\none\na\n")
	later(time.Minute, filesIn(false)) // a kubelet keeps the files of a deleted Secret
	wants("cat /v/a", "two\n")
	for range 20 {
		later(time.Minute, filesIn(true, "a", strings.Repeat("x", 100_000)))
		wants("ls /v", "a\n")
		later(time.Minute, filesIn(true, "a", "one\n", "b", "old\n"))
		wants("cat /v/b", "old\n")
	}
	// Only the file that is mounted with a subPath is there twice.
	if grown := used() - before; grown < 0 || grown > 2*nodeMemory {
		t.Errorf("the memory grew by %d bytes", grown)
	}
}

// TestVolumeMemory checks that large volumes and environments take no more memory than the container may use.
func TestVolumeMemory(t *testing.T) {
	large := strings.Repeat("s", 900_000)
	contents := &pods.Contents{Volumes: map[string]pods.VolumeFiles{}}
	for _, name := range strings.Split("abcdefghijklmnopqrstuvwxy", "") {
		contents.Volumes[name] = filesIn(true, "secret", large)
		contents.Mounts = append(contents.Mounts, pods.Mount{Volume: name, Path: "/v/" + name})
	}
	calls := 0
	c := newContainer(t, volumesOf(contents, &calls), func(config *Config) { config.Disk = 1 << 20 })
	got := sh(t, c, "cat /v/a/secret | wc -c")
	if got.stdout != "900000\n" || !strings.Contains(got.stderr,
		"No space left on device: the commands and files of the container use more than 17 MiB") ||
		strings.Contains(got.stderr, "sss") {
		t.Errorf("%q, %q", got.stdout, got.stderr)
	}
	if used := c.memory.used.Load(); used > 17<<20 {
		t.Errorf("%d bytes", used)
	}

	contents = &pods.Contents{Env: []string{"A=" + large, "B=" + large}}
	got = sh(t, newContainer(t, volumesOf(contents, &calls)), "echo $A")
	if got.stdout != "\n" || got.stderr != "environment: Argument list too long: more than 1 MiB\n" {
		t.Errorf("%q, %q", got.stdout[:min(100, len(got.stdout))], got.stderr)
	}
}

// TestEmptyDirIsShared checks that the containers of a pod share an emptyDir, which keeps its own size and memory.
func TestEmptyDirIsShared(t *testing.T) {
	state := &pods.PodState{}
	calls := 0
	contents := &pods.Contents{Mounts: []pods.Mount{{Volume: "v", Path: "/v", EmptyDir: &pods.EmptyDir{Size: 1000}}}}
	share := func(config *Config) { config.Pod = state }
	a, b := newContainer(t, volumesOf(contents, &calls), share), newContainer(t, volumesOf(contents, &calls), share)
	if got := sh(t, a, "echo x > /v/f; : > /v/full; while echo 0123456789 >> /v/full; do :; done"); got.stderr !=
		"echo: write error: No space left on device: the volume v has 1000 bytes\n" {
		t.Errorf("%+v", got)
	}
	if got := sh(t, b, "cat /v/f; rm /v/f /v/full; echo y > /v/g"); got != (result{stdout: "x\n"}) {
		t.Errorf("%+v", got)
	}
	var work sync.WaitGroup
	for _, c := range []*container{a, b} {
		work.Go(func() { sh(t, c, "for i in 1 2 3 4 5 6 7 8; do echo $i > /v/$i; mv /v/$i /v/x; rm -f /v/x; done") })
	}
	work.Wait()
	if got := sh(t, a, "ls /v; cat /v/g"); got != (result{stdout: "g\ny\n"}) {
		t.Errorf("%+v", got)
	}
	checkMemory(t, a)
	checkMemory(t, b)
	v := a.shared.dirs["v"]
	if v.bytes != 2 || v.files != 1 || v.memory.used.Load() != nodeMemory+nameMemory+2 {
		t.Errorf("%d bytes, %d files, %d bytes of memory", v.bytes, v.files, v.memory.used.Load())
	}
}

// TestVolumesAfterCancellation checks that a client that disconnects while its volumes are read does not keep them from
// the next client.
func TestVolumesAfterCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newContainer(t, func(config *Config) {
		config.ReadEvery = time.Minute
		config.Read = func(reading context.Context) pods.Contents {
			if ctx.Err() == nil {
				cancel()
				<-reading.Done()
			}
			return pods.Contents{Env: []string{"READ=yes"}}
		}
	})
	var out bytes.Buffer
	if _, err := c.Run(ctx, []string{"true"}, Streams{Stdout: &out}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if got := sh(t, c, "echo $READ"); got != (result{stdout: "yes\n"}) {
		t.Errorf("%+v", got)
	}
}
