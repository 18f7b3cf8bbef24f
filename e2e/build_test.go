package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
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

// version is that of the Kubernetes that is built, as go.mod requires it.
const version = "v1.37.2"

// parts are what is built from modules, by the name of the binary that `go build` makes of the package. One with a
// version is built as its own module would have it, whatever is required here.
var parts = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"hollow":                  "./hollow",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"metrics-server":          "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.9.0",
	"kwok":                    "sigs.k8s.io/kwok/cmd/kwok@v0.8.0",
	"reference":               "./reference",
}

var (
	built   = map[string]string{}
	builtMu sync.Mutex
)

// binary is the path of a part, or of fauxlet, built if it is not there.
func binary(t testing.TB, name string) string {
	t.Helper()
	builtMu.Lock()
	defer builtMu.Unlock()
	if path, there := built[name]; there {
		return path
	}
	build := cached
	switch name {
	case "fauxlet":
		build = fresh
	case jumping:
		build = freshJumping
	}
	path, err := build(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	built[name] = path
	return path
}

// fresh builds fauxlet, as it is now, for this run.
func fresh(name string) (string, error) {
	path := filepath.Join(scratch, name)
	return path, goBuild("..", path, "./cmd/fauxlet")
}

// cached finds a part in the cache folder, or builds it there.
func cached(name string) (string, error) {
	root := os.Getenv("FAUXLET_E2E_CACHE")
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w; set FAUXLET_E2E_CACHE to a folder to build into", err)
		}
		root = filepath.Join(user, "fauxlet-e2e")
	}
	dir := filepath.Join(root, version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
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
	if err := os.Chtimes(path, now, now); err == nil || !errors.Is(err, os.ErrNotExist) { // used, and so not pruned
		return path, err
	}
	temporary := path + ".tmp"
	if strings.Contains(parts[name], "@") {
		temporary, err = goInstall(dir, name)
	} else {
		err = goBuild(".", temporary, parts[name])
	}
	if err != nil {
		return "", err
	}
	if err := os.Rename(temporary, path); err != nil {
		return "", err
	}
	return path, prune(filepath.Join(dir, name+"-*"), path)
}

// prune removes what was built for other sources, but for what another checkout may still use.
func prune(pattern, but string) error {
	const unused = 7 * 24 * time.Hour
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		info, statErr := os.Stat(path)
		switch {
		case statErr != nil:
			err = errors.Join(err, statErr)
		case path != but && time.Since(info.ModTime()) > unused:
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// sources is a hash of what a part is made of: the versions of its modules, the compiler, the sources that are ours.
func sources(name string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if strings.Contains(parts[name], "@") {
		fmt.Fprintln(hash, parts[name])
		return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
	}
	modules, err := exec.Command("go", "list", "-m", "-f", "{{if not .Main}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}", "all").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m all: %w", err)
	}
	hash.Write(modules)
	if strings.HasPrefix(parts[name], "./") {
		files, err := ours(parts[name])
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

// ours are the sources of this project that a package is made of, its own and those that it imports.
func ours(pkg string) ([]string, error) {
	const files = `{{with .Module}}{{if or .Main (eq .Path "fauxlet")}}{{range $.GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	out, err := exec.Command("go", "list", "-deps", "-f", files, pkg).Output()
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

// goInstall builds a part of another module into the folder.
func goInstall(dir, name string) (string, error) {
	cmd := exec.Command("go", "install", parts[name])
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	return filepath.Join(dir, name), goRun(cmd, parts[name])
}

func goRun(cmd *exec.Cmd, pkg string) error {
	progress("building %s (from nothing a large one takes 10 minutes, from a warm build cache seconds)", pkg)
	start := time.Now()
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0") // the same for all, so that they share the build cache
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	progress("built %s in %v", pkg, time.Since(start).Round(time.Second))
	return nil
}

// lock keeps two test runs from building the same thing at once.
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
