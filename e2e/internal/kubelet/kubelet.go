// Package kubelet starts the kubelets of the end-to-end tests: fauxlet, or the kubelet's own server (program
// "reference"), both with the same configuration, pods and logs. It also sends requests to these kubelets.
package kubelet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

// UnderTest returns the kind of kubelet that the tests start: fauxlet, or with FAUXLET_E2E_KUBELET=reference the
// kubelet's own server.
func UnderTest() string {
	if name := os.Getenv("FAUXLET_E2E_KUBELET"); name != "" {
		return name
	}
	return "fauxlet"
}

// Kubelet is a running kubelet: fauxlet, or the program "reference", which is the kubelet's own server.
type Kubelet struct {
	*programs.Process
	Node             string
	Dir, certDir     string
	Secure, ReadOnly string // listening addresses; ReadOnly is empty if the read-only port is off
	Port             int
}

// Options configure a kubelet.
type Options struct {
	Kind       string // "fauxlet" or "reference"; empty: the kind that UnderTest returns
	Program    string // program file to run; empty: the file that package programs builds
	Node       string // name of the node; empty: "node-1"
	Port       int    // port of the kubelet; 0: any free port
	Dir        string // folder of the configuration file; empty: a new folder
	CertDir    string // folder of certificates; empty: pki in Dir
	Kubeconfig string // kubeconfig file; empty: a new one with the node's own certificate
	Settings   Settings
	Pods       []sample.Pod // pods of the node; nil: the pod of sample.Nginx
	Args       []string
}

// Start starts a kubelet and waits until it listens. The kubelet is stopped when the test ends. The control plane may
// be nil if Kubeconfig is set.
func Start(t testing.TB, plane *controlplane.Plane, o Options) *Kubelet {
	t.Helper()
	if o.Node == "" {
		o.Node = "node-1"
	}
	if o.Kind == "" {
		o.Kind = UnderTest()
	}
	if o.Pods == nil {
		o.Pods = []sample.Pod{sample.Nginx()}
	}
	k := &Kubelet{Node: o.Node, Dir: o.Dir, certDir: o.CertDir}
	if k.Dir == "" {
		k.Dir = t.TempDir()
	}
	if k.certDir == "" {
		k.certDir = filepath.Join(k.Dir, "pki")
	}
	if o.Kubeconfig == "" {
		o.Kubeconfig = filepath.Join(k.Dir, "kubeconfig")
		expect.NoError(t, plane.WriteKubeconfig(o.Kubeconfig, "system:node:"+o.Node, "system:nodes"))
	}
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	config, err := o.Settings.YAML(p)
	expect.NoError(t, err)
	// Each kind of kubelet gets its own folder, because fauxlet reads pods and logs from other files than the program
	// "reference".
	own := filepath.Join(k.Dir, o.Kind)
	expect.NoError(t, os.Mkdir(own, 0o755))
	configFile, ready := filepath.Join(k.Dir, "kubelet.yaml"), filepath.Join(own, "ready.json")
	expect.NoError(t, os.WriteFile(configFile, config, 0o644))

	args := []string{"--config", configFile, "--kubeconfig", o.Kubeconfig, "--hostname-override", o.Node,
		"--cert-dir", k.certDir, "--register-node=false", "--port", strconv.Itoa(o.Port), "--ready-file", ready, "-v=2"}
	args = append(args, o.Args...)
	logs := sample.WriteLogs(t, filepath.Join(own, "logs"), o.Pods)
	switch o.Kind {
	case "fauxlet":
		args = append([]string{"serve"}, append(args, "--scenario", sample.WriteScenario(t, own, logs, o.Pods))...)
	case "reference":
		args = append(args, "--pods", sample.WritePods(t, own, o.Pods), "--logs", logs, "--node-logs",
			sample.WriteNodeLogs(t, filepath.Join(own, "node-logs")))
	default:
		t.Fatalf("FAUXLET_E2E_KUBELET=%s: must be \"fauxlet\" or \"reference\"", o.Kind)
	}
	program := o.Program
	if program == "" {
		program = programs.Path(t, o.Kind)
	}
	if o.Settings["enableSystemLogQuery"] == true && o.Kind == "reference" {
		program, args = withNodeLogs(t, filepath.Join(own, "node-logs"), program, args)
	}
	k.Process, err = programs.Start(o.Kind, program, args...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		k.LogOnFailure(t, 0)
	})

	var open struct{ Secure, ReadOnly string }
	expect.Eventually(t, time.Minute, o.Kind+" is ready", func() string {
		select {
		case <-k.Ended:
			t.Fatalf("%s has ended: %v", o.Kind, k.Err)
		default:
		}
		data, err := os.ReadFile(ready)
		if err == nil {
			err = json.Unmarshal(data, &open)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	k.Secure, k.ReadOnly = open.Secure, open.ReadOnly
	k.Port, err = strconv.Atoi(k.Secure[strings.LastIndex(k.Secure, ":")+1:])
	expect.NoError(t, err)
	return k
}

// withNodeLogs returns the name and the arguments of a command that runs the given program. For the program, the
// folder "logs" is mounted at /var/log, and journalctl is a script. The script lists the same services as fauxlet, and
// its journal has no entries.
func withNodeLogs(t testing.TB, logs, program string, args []string) (string, []string) {
	t.Helper()
	const journalctl = `#!/bin/sh
case "$1" in
--field) echo containerd.service; echo kubelet.service;;
*) echo '-- No entries --';;
esac
`
	bin := t.TempDir()
	expect.NoError(t, os.WriteFile(filepath.Join(bin, "journalctl"), []byte(journalctl), 0o755))
	const script = `PATH="$0:$PATH" && mount --bind "$1" /var/log && shift && exec "$@"`
	return "unshare", append([]string{"--mount", "sh", "-c", script, bin, logs, program}, args...)
}
