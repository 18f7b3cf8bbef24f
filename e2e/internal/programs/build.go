// Package programs builds the programs that the end-to-end tests run, starts and stops them, and checks that the
// tools which the tests need are installed.
//
// Programs other than fauxlet are built from the Go modules that e2e/go.mod requires. The binaries are kept in a
// cache folder outside the repository: FAUXLET_E2E_CACHE, or fauxlet-e2e in the user's cache folder. The first build
// takes about 20 minutes.
package programs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Version is the version of Kubernetes that go.mod requires.
const Version = "v1.37.2"

// Modules maps the name of each program file to the package from which the program is built. A package with a version
// is built with the dependencies from the go.mod of its module. fauxlet is built with the go.mod of the repository, and
// all other packages with e2e/go.mod.
var Modules = map[string]string{
	"fauxlet":                 "./cmd/fauxlet",
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"helm":                    "helm.sh/helm/v3/cmd/helm@v3.22.0",
	"hollow":                  "./hollow",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
	"konnectivity-agent":      "sigs.k8s.io/apiserver-network-proxy/cmd/agent",
	"konnectivity-server":     "sigs.k8s.io/apiserver-network-proxy/cmd/server",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"metrics-server":          "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0",
	"kwok":                    "sigs.k8s.io/kwok/cmd/kwok@v0.8.0",
	"reference":               "./reference",
}

// program records whether this test process has already built a certain program.
type program struct {
	sync.Mutex        // the mutex is held while the program is built
	path       string // path is empty until the program is built
}

var (
	built   = map[string]*program{}
	builtMu sync.Mutex
)

func programNamed(name string) *program {
	builtMu.Lock()
	defer builtMu.Unlock()
	if built[name] == nil {
		built[name] = &program{}
	}
	return built[name]
}

// Path returns the file of a program. If the cache has no file for the current sources, Path builds the program
// first.
func Path(t testing.TB, name string) string {
	t.Helper()
	p := programNamed(name)
	p.Lock()
	defer p.Unlock()
	if p.path != "" {
		return p.path
	}
	build := cached
	if name == JumpingClock {
		build = buildJumpingClock
	}
	path, err := build(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p.path = path
	return path
}

// BuildAll builds all programs that the cache lacks, except kwok, which only one test on request uses. If the tests
// built them, other tests would run at the same time on a busy machine, and some of these compare durations.
func BuildAll() error {
	for _, name := range slices.Sorted(maps.Keys(Modules)) {
		if name == "kwok" {
			continue
		}
		if _, err := cached(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// cached returns the file of a program in the cache folder. If the file is missing, cached builds the program.
func cached(name string) (string, error) {
	root := os.Getenv("FAUXLET_E2E_CACHE")
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w; set FAUXLET_E2E_CACHE to a folder to build into", err)
		}
		root = filepath.Join(user, "fauxlet-e2e")
	}
	dir := filepath.Join(root, Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()

	key, err := sources(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+"-"+key)
	now := time.Now()
	// Chtimes marks the file as used, so that prune does not remove it.
	if err := os.Chtimes(path, now, now); err == nil || !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	temporary := path + ".tmp"
	if minor, older := minorOf(name); older {
		err = buildOlder(temporary, name, minor)
	} else if strings.Contains(Modules[name], "@") {
		temporary, err = goInstall(dir, name)
	} else {
		err = goBuild(moduleOf(name), temporary, Modules[name])
	}
	if err != nil {
		return "", err
	}
	if err := os.Rename(temporary, path); err != nil {
		return "", err
	}
	return path, prune(filepath.Join(dir, name+"-????????????"), path)
}

// prune removes programs built from older sources. It keeps programs used within the last week, because another
// checkout may need them.
func prune(pattern, keep string) error {
	const unused = 7 * 24 * time.Hour
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		info, statErr := os.Stat(path)
		switch {
		case statErr != nil:
			err = errors.Join(err, statErr)
		case path != keep && time.Since(info.ModTime()) > unused:
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// sources returns a hash that changes when a program must be built again. It covers the versions of Go and of the
// modules, the operating system and architecture, and the source files in this repository that the program needs.
func sources(name string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if strings.Contains(Modules[name], "@") {
		fmt.Fprintln(hash, Modules[name])
		return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
	}
	if minor, older := minorOf(name); older {
		err := writeOlderSources(hash, name, minor)
		return fmt.Sprintf("%x", hash.Sum(nil)[:6]), err
	}
	versions, err := moduleVersions(moduleOf(name))
	if err != nil {
		return "", err
	}
	hash.Write(versions)
	if pkg := Modules[name]; strings.HasPrefix(pkg, "./") {
		files, err := repositoryFiles(moduleOf(name), pkg)
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(hash, filepath.Base(file), len(text))
			hash.Write(text)
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}

// moduleOf returns the folder of the module whose go.mod a program is built with.
func moduleOf(name string) string {
	if name == "fauxlet" || name == JumpingClock {
		return Repository()
	}
	return Module()
}

// moduleVersions lists the modules that the go.mod in a folder requires, with their versions.
func moduleVersions(dir string) ([]byte, error) {
	const format = "{{if not .Main}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}"
	list := exec.Command("go", "list", "-m", "-f", format, "all")
	list.Dir = dir
	versions, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m all: %w", err)
	}
	return versions, nil
}

// repositoryFiles returns all source files in this repository that belong to a package or to its direct and indirect
// imports.
func repositoryFiles(dir, pkg string) ([]string, error) {
	const files = `{{with .Module}}{{if or .Main (eq .Path "fauxlet")}}` +
		`{{range $.GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}` +
		`{{range $.EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	list := exec.Command("go", "list", "-deps", "-f", files, pkg)
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps %s: %w", pkg, err)
	}
	return strings.Fields(string(out)), nil
}

func goBuild(dir, output, pkg string, flags ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", output}, flags, []string{pkg})...)
	cmd.Dir = dir
	return goRun(cmd, pkg)
}

// goInstall builds a program into a folder, with the dependencies from the program's own go.mod.
func goInstall(dir, name string) (string, error) {
	cmd := exec.Command("go", "install", Modules[name])
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	return filepath.Join(dir, name), goRun(cmd, Modules[name])
}

func goRun(cmd *exec.Cmd, pkg string) error {
	Progress("building %s (from nothing a large one takes 10 minutes, from a warm build cache seconds)", pkg)
	start := time.Now()
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0") // as in all builds here, so that they share the build cache
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	Progress("built %s in %v", pkg, time.Since(start).Round(time.Second))
	return nil
}

// lock takes a lock file, so that two test binaries do not build the same program at the same time.
func lock(path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}
