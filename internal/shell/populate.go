package shell

import (
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	kernelName    = "Linux"
	kernelRelease = "6.12.48-fauxlet"
	kernelVersion = "#1 SMP PREEMPT_DYNAMIC 6.12.48-1 (2025-09-20)"
	machine       = "x86_64"
	processors    = 4
)

// Each command's file in /bin begins with the text in "program". The command's name follows, so that a copy of the file
// under a different name works too.
const program = "\x7fELF\x02\x01\x01\x00fauxlet:"

// populate creates the files that every system has. They do not count towards the client's quota.
func (c *container) populate() error {
	for _, dir := range strings.Fields("/bin /dev /etc /home /lib /mnt /opt /proc/1 /root /run /sbin /srv /sys /tmp " +
		"/usr/bin /usr/local/bin /usr/sbin /var/log /var/tmp") {
		if err := c.files.mkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	hosts := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if c.config.IP != "" {
		hosts += c.config.IP + "\t" + c.config.Hostname + "\n"
	}
	cpuinfo := ""
	for i := range processors {
		cpuinfo += "processor\t: " + strconv.Itoa(i) + "\nmodel name\t: none at all\n\n"
	}
	files := map[string]string{
		"/etc/hostname": c.config.Hostname + "\n",
		"/etc/hosts":    hosts,
		"/etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"/etc/group":    "root:x:0:\nnogroup:x:65534:\n",
		"/etc/resolv.conf": "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " +
			"10.96.0.10\noptions ndots:5\n",
		"/etc/os-release": "NAME=\"fauxlet\"\nID=fauxlet\nPRETTY_NAME=\"fauxlet (no container at all)\"\n",
		"/proc/1/cmdline": strings.Join(c.config.Command, "\x00") + "\x00",
		"/proc/cpuinfo":   cpuinfo,
		"/proc/meminfo":   "MemTotal:        8388608 kB\nMemFree:         5242880 kB\nMemAvailable:    6291456 kB\n",
		"/proc/version":   kernelName + " version " + kernelRelease + " (build@fauxlet) " + kernelVersion + "\n",
	}
	for name, content := range files {
		if err := c.files.put(name, content, 0o644); err != nil {
			return err
		}
	}
	for name := range commands {
		if err := c.files.put("/bin/"+name, program+name+"\n", 0o755); err != nil {
			return err
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		err := c.files.put("/dev/"+device, strings.TrimPrefix(device, "u"), fs.ModeDevice|fs.ModeCharDevice|0o666)
		if err != nil {
			return err
		}
	}
	c.files.memory = c.memory
	c.files.uid, c.files.gid = c.config.UID, c.config.GID
	return nil
}

// userName and groupName return the name of an ID in /etc/passwd and /etc/group, or the ID itself if it has no name.
func userName(id int64) string  { return idName(id, "nobody") }
func groupName(id int64) string { return idName(id, "nogroup") }

func idName(id int64, last string) string {
	switch id {
	case 0:
		return "root"
	case 65534:
		return last
	}
	return strconv.FormatInt(id, 10)
}

// register adds a process and returns its PID.
func (c *container) register(p *process) int {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.lastPID++
	c.processes[c.lastPID] = p
	return c.lastPID
}

func (c *container) unregister(pid int) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.processes, pid)
}

func (c *container) process(pid int) *process {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.processes[pid]
}

// pids returns the PIDs of all processes except 1. PID 1 is the container's main process, which does not really run.
func (c *container) pids() []int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return slices.Sorted(maps.Keys(c.processes))
}
