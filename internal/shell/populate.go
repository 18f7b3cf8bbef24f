package shell

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	kernelName    = "Linux"
	kernelRelease = "6.12.48-fauxlet"
	kernelVersion = "#1 SMP PREEMPT_DYNAMIC 6.12.48-1 (2025-09-20)"
	machine       = "x86_64"

	memoryTotal = 8 << 20 // KiB
	memoryFree  = 5 << 20 // KiB
	processors  = 4
)

// program is the beginning of a command's file. The name of the command follows, so that a copy of the file works too.
const program = "\x7fELF\x02\x01\x01\x00fauxlet:"

// populate creates the files that every system has.
func (c *Container) populate() error {
	root := []struct {
		name string
		mode fs.FileMode
	}{
		{"/bin", 0o755}, {"/dev", 0o755}, {"/etc", 0o755}, {"/home", 0o755}, {"/lib", 0o755}, {"/mnt", 0o755},
		{"/opt", 0o755},
		{"/proc", 0o555}, {"/root", 0o700}, {"/run", 0o755}, {"/sbin", 0o755}, {"/srv", 0o755}, {"/sys", 0o555},
		{"/tmp", 0o777 | fs.ModeSticky}, {"/usr", 0o755}, {"/usr/bin", 0o755}, {"/usr/local", 0o755},
		{"/usr/local/bin", 0o755},
		{"/usr/sbin", 0o755}, {"/var", 0o755}, {"/var/log", 0o755}, {"/var/tmp", 0o777 | fs.ModeSticky},
		{"/proc/1", 0o555}, {"/proc/self", 0o555},
	}
	for _, dir := range root {
		if err := c.files.mkdir(user{}, dir.name, dir.mode, c.begun()); err != nil {
			return err
		}
	}
	for name := range commands {
		if err := c.files.put("/bin/"+name, program+name+"\n", 0o755); err != nil {
			return err
		}
	}
	hosts := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if c.config.IP != "" {
		hosts += c.config.IP + "\t" + c.config.Hostname + "\n"
	}
	passwd, group := "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n"
	passwd += "nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	group += "nogroup:x:65534:\n"
	for name, content := range map[string]string{
		"/etc/hostname": c.config.Hostname + "\n",
		"/etc/hosts":    hosts,
		"/etc/passwd":   passwd,
		"/etc/group":    group,
		"/etc/resolv.conf": "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " +
			"10.96.0.10\noptions ndots:5\n",
		"/etc/os-release": "NAME=\"fauxlet\"\nID=fauxlet\nPRETTY_NAME=\"fauxlet (no container at all)\"\n",
	} {
		if err := c.files.put(name, content, 0o644); err != nil {
			return err
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := c.files.put("/dev/"+device, strings.TrimPrefix(device, "u"), 0o666); err != nil {
			return err
		}
		c.files.root.children["dev"].children[device].mode = fs.ModeDevice | fs.ModeCharDevice | 0o666
	}
	for name, generate := range map[string]func() string{
		"/proc/1/cmdline": func() string { return strings.Join(c.config.Command, "\x00") + "\x00" },
		"/proc/1/comm": func() string {
			return path.Base(strings.Join(c.config.Command[:min(1, len(c.config.Command))], "")) + "\n"
		},
		"/proc/cpuinfo": cpuinfo,
		"/proc/loadavg": func() string {
			return "0.08 0.03 0.01 1/" + strconv.Itoa(len(c.list())) + " " + strconv.Itoa(c.last()) + "\n"
		},
		"/proc/meminfo": func() string {
			return fmt.Sprintf("MemTotal:       %8d kB\nMemFree:        %8d kB\nMemAvailable:   %8d kB\n", memoryTotal,
				memoryFree, memoryFree+1<<20)
		},
		"/proc/mounts": func() string {
			return "overlay / overlay rw,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\ntmpfs " +
				"/dev tmpfs rw,nosuid,size=65536k,mode=755 0 0\n"
		},
		"/proc/self/cmdline": func() string { return "cat\x00/proc/self/cmdline\x00" },
		"/proc/uptime": func() string {
			up := c.uptime().Seconds()
			return fmt.Sprintf("%.2f %.2f\n", up, up*processors*0.97)
		},
		"/proc/version": func() string {
			return fmt.Sprintf("%s version %s (build@fauxlet) %s\n", kernelName, kernelRelease, kernelVersion)
		},
	} {
		if err := c.files.put(name, "", 0o444); err != nil {
			return err
		}
		n, err := c.files.find(user{}, name)
		if err != nil {
			return err
		}
		n.generate = generate
	}
	// The files so far do not count towards the client's quota.
	c.files.bytes, c.files.nodes = 0, 0
	return nil
}

func cpuinfo() string {
	var b strings.Builder
	for i := range processors {
		fmt.Fprintf(&b, "processor\t: %d\nvendor_id\t: fauxlet\nmodel name\t: none at all\ncpu MHz\t\t: 2400.000\n\n",
			i)
	}
	return b.String()
}

func (c *Container) uptime() time.Duration {
	if c.config.Started.IsZero() {
		return 0
	}
	return max(0, c.config.Now().Sub(c.config.Started))
}

// userName and groupName look up an ID in /etc/passwd or /etc/group. Without an entry they return the number.
func (c *Container) userName(id int64) string  { return c.named("/etc/passwd", id) }
func (c *Container) groupName(id int64) string { return c.named("/etc/group", id) }

func (c *Container) named(file string, id int64) string {
	number := strconv.FormatInt(id, 10)
	content, _ := c.files.content(user{}, file)
	for line := range strings.Lines(string(content)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) > 2 && fields[2] == number {
			return fields[0]
		}
	}
	return number
}

// list returns the processes by PID. The first has no *process, because it does not really run.
func (c *Container) list() []int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return append([]int{1}, slices.SortedFunc(maps.Keys(c.processes), cmp.Compare[int])...)
}

func (c *Container) last() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.lastPID
}

func (c *Container) process(pid int) *process {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.processes[pid]
}
