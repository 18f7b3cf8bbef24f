package tools

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestModule publishes a copy of the module under another path in a file:// proxy, as its owner would in a repository.
// A module outside of this repository must then be able to import the packages, and "go install" to install the
// program. The original path must restore every file of the copy.
func TestModule(t *testing.T) {
	t.Parallel()
	const path = "fauxlet.example/someone/fauxlet"
	dir := t.TempDir()
	repository := filepath.Join(dir, "copy")
	copyRepository(t, repository)
	runIn(t, repository, nil, "git", "init", "-q")
	runIn(t, repository, nil, "git", "add", "-A")
	original := runIn(t, repository, nil, "git", "write-tree")
	was := strings.TrimSpace(runIn(t, repository, nil, "go", "list", "-m"))

	for _, refused := range []string{"", "github.com/someone/", "someone/fauxlet",
		"https://github.com/someone/fauxlet"} {
		cmd := exec.Command("make", "-s", "module", "MODULE="+refused)
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("MODULE=%s is accepted: %s", refused, out)
		}
		expect.Contains(t, "the error", string(out), "github.com/OWNER/fauxlet")
	}

	tree := func(path string) string {
		out := runIn(t, repository, nil, "make", "-s", "module", "MODULE="+path)
		expect.Contains(t, "the output", out, "files changed")
		runIn(t, repository, nil, "git", "add", "-A")
		return runIn(t, repository, nil, "git", "write-tree")
	}
	changed := tree(path)
	// A merge brings files that import packages with the original path.
	merged := filepath.Join(repository, "config/merged_test.go")
	const source = "package config_test\n\nimport _ \"%s/config\"\n"
	expect.NoError(t, os.WriteFile(merged, fmt.Appendf(nil, source, was), 0o644))
	tree(path)
	if got := expect.File(t, merged); got != fmt.Sprintf(source, path) {
		t.Errorf("the file of the merge is %q", got)
	}
	expect.NoError(t, os.Remove(merged))
	if tree(path) != changed {
		t.Error("the same path changes files again")
	}
	if changed == original || tree(was) != original {
		t.Error("the original path does not restore the files")
	}
	if tree(path) != changed {
		t.Fatal("the path depends on the paths before")
	}
	if out := runIn(t, repository, nil, "gofmt", "-l", "."); out != "" {
		t.Errorf("gofmt would change %s", out)
	}
	runIn(t, repository, nil, "go", "mod", "tidy", "-diff")
	runIn(t, filepath.Join(repository, "e2e"), nil, "go", "mod", "tidy", "-diff")

	// The go command never reads a version again that it knows, so each content has a version of its own. The module
	// cache of the user has all modules that fauxlet requires; the published one must not stay in it. A lock makes
	// concurrent runs wait.
	version := "v0.1.0-tree" + changed[:12]
	cache := strings.TrimSpace(runIn(t, repository, nil, "go", "env", "GOMODCACHE"))
	forget := func() {
		for _, folder := range []string{"fauxlet.example", "cache/download/fauxlet.example"} {
			folder = filepath.Join(cache, folder)
			_ = exec.Command("chmod", "-Rf", "u+w", folder).Run() // fails if the folder does not exist
			expect.NoError(t, os.RemoveAll(folder))
		}
	}
	lock, err := os.Create(filepath.Join(cache, "cache/fauxlet.example.lock"))
	expect.NoError(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	expect.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	forget()
	t.Cleanup(forget)
	proxy := filepath.Join(dir, "proxy")
	publish(t, repository, proxy, module.Version{Path: path, Version: version})
	proxies := "file://" + proxy + ",file://" + filepath.Join(cache, "cache/download") + "," +
		strings.TrimSpace(runIn(t, repository, nil, "go", "env", "GOPROXY"))
	environment := []string{"GOPROXY=" + proxies, "GOSUMDB=off", "GOFLAGS=-mod=mod", "GOWORK=off",
		"GOBIN=" + filepath.Join(dir, "bin")}

	outside := filepath.Join(dir, "outside")
	expect.NoError(t, os.Mkdir(outside, 0o755))
	test := strings.ReplaceAll(expect.File(t, "testdata/outside_test.go.txt"), "MODULE/", path+"/")
	expect.NoError(t, os.WriteFile(filepath.Join(outside, "outside_test.go"), []byte(test), 0o644))
	runIn(t, outside, environment, "go", "mod", "init", "outside.example")
	runIn(t, outside, environment, "go", "get", "-t", path+"/kubelettest@"+version)
	runIn(t, outside, environment, "go", "mod", "tidy")
	out := runIn(t, outside, environment, "go", "test", "-count=1", "-v", ".")
	expect.Contains(t, "go test", out, "--- PASS: TestOutside")

	runIn(t, outside, environment, "go", "install", path+"/cmd/fauxlet@"+version)
	expect.Contains(t, "fauxlet version", runIn(t, outside, nil, filepath.Join(dir, "bin/fauxlet"), "version"), version)
}

// copyRepository copies the files of this repository that git knows or would add.
func copyRepository(t *testing.T, to string) {
	t.Helper()
	from := programs.Repository()
	files := runIn(t, from, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for file := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(from, file))
		if os.IsNotExist(err) {
			continue // deleted, but not yet committed
		}
		expect.NoError(t, err)
		expect.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755))
		expect.NoError(t, os.WriteFile(filepath.Join(to, file), []byte(expect.File(t, filepath.Join(from, file))),
			info.Mode().Perm()))
	}
}

// publish writes the files of a module version in the layout of the GOPROXY protocol.
// (https://go.dev/ref/mod#goproxy-protocol)
func publish(t *testing.T, repository, proxy string, version module.Version) {
	t.Helper()
	dir := filepath.Join(proxy, version.Path, "@v")
	expect.NoError(t, os.MkdirAll(dir, 0o755))
	info, err := json.Marshal(map[string]string{"Version": version.Version, "Time": "2026-01-01T00:00:00Z"})
	expect.NoError(t, err)
	for name, content := range map[string]string{"list": version.Version + "\n",
		version.Version + ".info": string(info),
		version.Version + ".mod":  expect.File(t, filepath.Join(repository, "go.mod"))} {
		expect.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	file, err := os.Create(filepath.Join(dir, version.Version+".zip"))
	expect.NoError(t, err)
	expect.NoError(t, zip.CreateFromDir(file, version, repository))
	expect.NoError(t, file.Close())
}

// runIn runs a program in a folder and returns its standard output. It ends the test if the program fails.
func runIn(t *testing.T, dir string, environment []string, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), environment...), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}
