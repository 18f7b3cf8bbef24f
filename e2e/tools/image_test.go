package tools

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestImage builds the container image, writes the archive that docs/join.md loads into a cluster, and runs the image's
// program in the image's root folder as the image's user.
func TestImage(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	buildah := debian(t, "buildah", "buildah")
	dir := t.TempDir()
	storage := filepath.Join(dir, "storage.conf")
	expect.NoError(t,
		os.WriteFile(storage, []byte(fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n",
			filepath.Join(dir, "graph"), filepath.Join(dir, "run"))), 0o644))
	environment := append(os.Environ(), "CONTAINERS_STORAGE_CONF="+storage)
	prints := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = "../..", environment
		got := programs.Run(t, cmd)
		if got.Status != 0 {
			t.Fatalf("%s %s: %+v", program, strings.Join(args, " "), got)
		}
		return strings.TrimSpace(got.Stdout)
	}
	const image = "localhost/fauxlet:latest"
	prints("make", "image")
	tags := strings.Fields(prints(buildah, "images", "--format={{.Tag}}", "localhost/fauxlet"))
	if len(tags) != 2 || !slices.Contains(tags, "latest") {
		t.Errorf("the image has the tags %q, want latest and the version", tags)
	}
	archive := filepath.Join(dir, "fauxlet.tar")
	guide, err := os.ReadFile("../../docs/join.md")
	expect.NoError(t, err)
	push := "push " + image + " docker-archive:fauxlet.tar:fauxlet:latest"
	expect.Contains(t, "docs/join.md", string(guide), "make image\nbuildah "+push+"\n")
	prints(buildah, strings.Fields(strings.Replace(push, "fauxlet.tar", archive, 1))...)
	expect.Contains(t, "the archive's manifest", prints("tar", "-xOf", archive, "manifest.json"), `/fauxlet:latest"]`)
	if got, want := prints(buildah, "inspect", "--type=image",
		"--format={{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}", image),
		"65532:65532 [/fauxlet] [help]"; got != want {
		t.Errorf("the image has %q, want %q", got, want)
	}
	container := prints(buildah, "from", "--pull-never", image)
	root := prints(buildah, "mount", container)
	t.Cleanup(func() {
		prints(buildah, "umount", container)
		prints(buildah, "rm", container)
	})
	entries, err := os.ReadDir(root)
	expect.NoError(t, err)
	for _, entry := range entries {
		if name := entry.Name(); name != "fauxlet" && name != "dev" && name != "proc" && name != "sys" &&
			name != "run" &&
			name != "etc" {
			t.Errorf("the image has /%s", name) // buildah creates the other entries of the root folder
		}
	}
	// The linker leaves out unused methods unless the program runs a template, or calls methods by their names. The
	// binary would then be larger than 65 MB.
	program, err := os.Stat(filepath.Join(root, "fauxlet"))
	expect.NoError(t, err)
	if program.Size() > 55e6 {
		t.Errorf("the program has %d bytes, want at most 55 million", program.Size())
	}
	within := func(args ...string) []string {
		return programs.Confined(t, root, 65532, 65532, nil, append([]string{"/fauxlet"}, args...))
	}

	command := within("version")
	if got := programs.Run(t, exec.Command(command[0], command[1:]...)); got.Status != 0 ||
		!strings.HasPrefix(got.Stdout, "fauxlet ") {
		t.Errorf("fauxlet version: %+v", got)
	}
	port := programs.FreePort(t)
	flags := []string{"serve", "--address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--read-only-port=0",
		"--healthz-port=0", "--hostname-override=node-1"}
	// Without a mounted folder, fauxlet cannot write any file.
	command = within(flags...)
	got := programs.Run(t, exec.Command(command[0], command[1:]...))
	if got.Status != 1 {
		t.Errorf("fauxlet serve without a folder for its certificate: status %d", got.Status)
	}
	expect.Contains(t, "standard error of fauxlet serve", got.Stderr, "--cert-dir")

	pki := filepath.Join(root, "pki")
	expect.NoError(t, os.Mkdir(pki, 0o700))
	expect.NoError(t, os.Chown(pki, 65532, 65532))
	command = within(append(flags, "--cert-dir=/pki")...)
	fauxlet, err := programs.Start("fauxlet", command[0], command[1:]...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := fauxlet.Stop(); err != nil {
			t.Error(err)
		}
		fauxlet.LogOnFailure(t, 0)
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true}}
	expect.Eventually(t, time.Minute, "fauxlet in the image answers", func() string {
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/healthz", port))
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		return ""
	})
	info, err := os.Stat(filepath.Join(pki, "kubelet.key"))
	expect.NoError(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
}
