package tools

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestImage builds the container image for this machine, twice. Both builds must have the same digest. The test
// checks the archive that docs/containers.md loads into a cluster, and runs the image's program in the image's root
// folder as the image's user.
func TestImage(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	buildah := debian(t, "buildah", "buildah")
	dir, err := os.MkdirTemp(programs.Scratch, "image-") // buildah accepts no capital letters, which t.TempDir has
	expect.NoError(t, err)
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
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for _, out := range []string{first, second} {
		prints("make", "image", "DIR="+out, "ARCHES="+runtime.GOARCH)
	}
	index := filepath.Join("oci", "index.json")
	if a, b := expect.File(t, filepath.Join(first, index)), expect.File(t, filepath.Join(second, index)); a != b {
		t.Errorf("two builds differ:\n%s\n%s", a, b)
	}
	entries, err := os.ReadDir(first)
	expect.NoError(t, err)
	if len(entries) != 3 {
		t.Errorf("make image leaves %v, want only an archive, its SBOM and an OCI layout", entries)
	}
	expect.Contains(t, "the SBOM", expect.File(t, filepath.Join(first, "fauxlet-"+runtime.GOARCH+".cdx.json")),
		`"purl": "pkg:golang/k8s.io/client-go@`)
	archive := filepath.Join(first, "fauxlet-"+runtime.GOARCH+".tar")
	expect.Contains(t, "docs/containers.md", expect.File(t, "../../docs/containers.md"),
		"\nkind load image-archive bin/image/fauxlet-amd64.tar\n")
	expect.Contains(t, "the archive's manifest", prints("tar", "-xOf", archive, "manifest.json"), `/fauxlet:latest"]`)

	image := prints(buildah, "pull", "--quiet", "oci:"+filepath.Join(first, "oci")+":latest")
	const format = "{{.OCIv1.Architecture}} {{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} " +
		`{{.OCIv1.Config.Cmd}} {{index .OCIv1.Config.Labels "org.opencontainers.image.title"}}`
	if got, want := prints(buildah, "inspect", "--type=image", "--format="+format, image),
		runtime.GOARCH+" 65532:65532 [/fauxlet] [help] fauxlet"; got != want {
		t.Errorf("the image has %q, want %q", got, want)
	}
	container := prints(buildah, "from", "--pull-never", image)
	root := prints(buildah, "mount", container)
	t.Cleanup(func() {
		prints(buildah, "umount", container)
		prints(buildah, "rm", container)
	})
	entries, err = os.ReadDir(root)
	expect.NoError(t, err)
	for _, entry := range entries {
		// buildah creates the last five of these entries.
		if !slices.Contains([]string{"fauxlet", "certs", "tmp", "licenses", "dev", "proc", "sys", "run", "etc"},
			entry.Name()) {
			t.Errorf("the image has /%s", entry.Name())
		}
	}
	expect.Contains(t, "the licenses", expect.File(t, filepath.Join(root, "licenses/THIRD_PARTY_LICENSES.txt")),
		"k8s.io/client-go@")
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
	port, admin := programs.FreePort(t), fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	flags := []string{"serve", "--address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--read-only-port=0",
		"--healthz-port=0", "--hostname-override=node-1", "--admin-address=" + admin}
	// Only /certs and /tmp are writable.
	command = within(append(flags, "--cert-dir=/pki")...)
	got := programs.Run(t, exec.Command(command[0], command[1:]...))
	if got.Status != 1 {
		t.Errorf("fauxlet serve with a folder that cannot be written: status %d", got.Status)
	}
	expect.Contains(t, "standard error of fauxlet serve", got.Stderr, "--cert-dir")

	command = within(append(flags, "--cert-dir=/certs", "--ready-file=/tmp/ready.json")...)
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
	command = within("ready", "--address="+admin)
	if got := programs.Run(t, exec.Command(command[0], command[1:]...)); got != (programs.Result{}) {
		t.Errorf("fauxlet ready: %+v", got)
	}
	expect.Contains(t, "/tmp/ready.json", expect.File(t, filepath.Join(root, "tmp/ready.json")), `"secure"`)
	info, err := os.Stat(filepath.Join(root, "certs/kubelet.key"))
	expect.NoError(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
}
