package fauxlet_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// imports maps each package of this module to the other packages of this module that it may import. A package that is
// not in this map may import no package of this module.
var imports = map[string][]string{
	"authchain":       {"internal/echo"},
	"internal/faults": {"testcerts"},
	"internal/faulty": {"authchain", "internal/faults", "scenario", "testcerts"},
	"kubelettest": {"authchain", "internal/atomicfile", "internal/reviewapi", "config", "internal/faults",
		"internal/faulty", "internal/leastprivilege", "internal/pods", "server", "testcerts", "scenario"},
	"kubelettest/fakeshell": {"internal/shell", "kubelettest"},
	"packaging/module":      {"internal/atomicfile"},
	"scenario":              {"internal/faults"},
	"internal/apirequests":  {"internal/metric"},
	"internal/podcounts":    {"internal/metric", "internal/podlife", "internal/podvolumes"},
	"internal/podvolumes":   {"internal/podlife"},
	"internal/pods": {"internal/compact", "internal/oneconn", "internal/podcounts", "internal/podlife",
		"internal/podlog", "internal/stableid", "scenario"},
	"internal/podlog":   {"scenario"},
	"internal/podstats": {"internal/podlife", "internal/podvolumes", "internal/stableid", "scenario"},
	"internal/shell":    {"internal/pods"},
	"server": {"authchain", "config", "internal/apirequests", "internal/atomicfile", "internal/echo",
		"internal/oneconn", "internal/pemfile", "internal/podcounts", "internal/podlog", "internal/pods",
		"internal/podstats", "internal/tlserror", "scenario"},
	"internal/pemfile": {"internal/shellword"},
	"conformance":      {"internal/color"},
	"conformance/check": {"authchain", "config", "conformance", "conformance/hostile", "conformance/stage",
		"internal/color",
		"internal/pods", "internal/shell", "internal/shellword", "internal/states", "server", "testcerts", "scenario"},
	"conformance/hostile":  {"internal/states"},
	"conformance/stage":    {"testcerts"},
	"testcerts":            {"internal/atomicfile", "internal/pemfile"},
	"internal/atomicfile":  {"internal/fileaccess"},
	"internal/secretfiles": {"config", "internal/fileaccess", "internal/kubeconfig"},
	"internal/bootstrap": {"internal/atomicfile", "internal/echo", "internal/kubeconfig", "internal/pemfile",
		"internal/shellword"},
	"internal/kubeconfig": {"internal/pemfile"},
	"conformance/probe": {"authchain", "config", "internal/color", "internal/echo", "internal/pemfile", "internal/pods",
		"internal/reviewapi", "internal/shellword", "server", "testcerts"},
	"internal/node": {"config", "internal/compact", "internal/podlife", "internal/pods", "internal/podstats",
		"scenario"},
	"internal/podlife": {"scenario"},
	"cmd/fauxlet": {"authchain", "config", "conformance", "conformance/check", "conformance/probe",
		"internal/admin", "internal/atomicfile", "internal/color", "internal/decisions", "internal/demo",
		"internal/explain", "internal/explain/offline", "internal/faults", "internal/helptext", "internal/host",
		"internal/kubeconfig", "internal/leastprivilege", "internal/logging", "internal/node", "internal/pods",
		"internal/reviewapi",
		"internal/secretfiles", "internal/shellword", "internal/symptoms", "internal/versions", "server", "testcerts"},
	"internal/demo": {"authchain", "config", "internal/admin", "internal/atomicfile", "internal/color",
		"internal/explain/offline", "internal/fileaccess", "internal/freeport", "internal/host", "internal/pods",
		"internal/reviewapi", "internal/shellword", "server", "testcerts"},
	"internal/host": {"authchain", "config", "internal/apirequests", "internal/admin", "internal/admin/page",
		"internal/bootstrap",
		"internal/decisions", "internal/explain", "internal/explain/offline", "internal/faults", "internal/faulty",
		"internal/node", "internal/pods", "internal/podstats", "internal/shell", "internal/reviewapi", "scenario",
		"server"},
	"internal/admin": {"authchain", "internal/atomicfile", "internal/decisions", "internal/explain",
		"internal/explain/offline", "internal/faults", "internal/fileaccess", "internal/leastprivilege"},
	"internal/leastprivilege": {"authchain", "config", "internal/color", "internal/reviewapi", "server"},
	"internal/decisions":      {"authchain", "internal/color", "internal/explain"},
	"internal/explain": {"authchain", "config", "internal/bootstrap", "internal/color", "internal/pemfile",
		"internal/reviewapi", "internal/shellword", "internal/tlserror"},
	"internal/explain/offline": {"authchain", "internal/bootstrap", "internal/reviewapi", "config",
		"internal/explain", "internal/pods", "server", "scenario"},
	"internal/helptext": {"internal/color"},
	"internal/versions": {"config", "internal/color"},
	"internal/vectors":  {"internal/faults"},
	"internal/recordings": {"internal/atomicfile", "internal/faults", "internal/reviewapi", "internal/vectors",
		"testcerts"},
	"internal/reviewapi": {"internal/atomicfile", "testcerts"},
	"internal/symptoms":  {"internal/color", "internal/shellword", "internal/tlserror"},
}

// TestImports compares the imports of every package with the variable "imports". It also checks that no package depends
// on k8s.io/kubernetes. Because other modules import kubelettest, the test also limits its dependencies: kubelettest
// may depend only on third-party packages on which server, internal/reviewapi or testcerts depend too, and it must not
// link the shell or the admin page.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,Module", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	seen := 0
	deps := map[string][]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
			Module        struct{ Path string }
		}
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		module := p.Module.Path + "/"
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			ours, ok := strings.CutPrefix(imported, module)
			if ok && !slices.Contains(imports[name], ours) {
				t.Errorf("%s imports %s, and may import only %q of ours", name, ours, imports[name])
			}
		}
		deps[name] = p.Deps
		for _, dep := range p.Deps {
			if dep == "k8s.io/kubernetes" || strings.HasPrefix(dep, "k8s.io/kubernetes/") {
				t.Errorf("%s depends on %s, which only e2e may", name, dep)
			}
		}
	}
	parts := slices.Concat(imports["kubelettest"], deps["server"], deps["internal/reviewapi"], deps["testcerts"])
	for _, dep := range deps["kubelettest"] {
		first, _, _ := strings.Cut(dep, "/")
		if strings.Contains(first, ".") && !slices.Contains(parts, dep) {
			t.Errorf("kubelettest depends on %s, which none of its parts does", dep)
		}
		if strings.HasPrefix(dep, "mvdan.cc/sh") ||
			slices.Contains([]string{"fauxlet/internal/shell", "fauxlet/internal/admin", "fauxlet/internal/admin/page"},
				dep) {
			t.Errorf("kubelettest depends on %s: a test that needs a kubelet must not link the shell or the admin page",
				dep)
		}
	}
	if seen < 7 {
		t.Errorf("only %d packages were looked at", seen)
	}
}
