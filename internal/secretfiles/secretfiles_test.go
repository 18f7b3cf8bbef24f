//go:build unix

package secretfiles

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	tracingapi "k8s.io/component-base/tracing/api/v1"

	"fauxlet/config"
)

// TestWarnsOfSharedFolder checks that a --cert-dir where all users can create files gets a warning. The keys in it
// would be used even if another user has put them there.
func TestWarnsOfSharedFolder(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o755: "",
		0o777: "--cert-dir: all users can create files in the folder ",
	} {
		dir := filepath.Join(t.TempDir(), "pki")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		var files Files
		files.AddKubelet(&config.Config{CertDir: dir})
		if got := strings.Join(files.Warnings(), "\n"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("mode %o: warnings %q, want %q", mode, got, want)
		}
	}
}

// TestWarnsOfCollectorKey checks that the private key for an OpenTelemetry collector gets a warning if all users of the
// machine can read it. Without tracing the key is not used.
func TestWarnsOfCollectorKey(t *testing.T) {
	dir, err := os.MkdirTemp("", "fauxlet-key-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	key := filepath.Join(dir, "collector.key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(key, 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
	for _, tracing := range []*tracingapi.TracingConfiguration{nil, {}} {
		cfg := &config.Config{}
		cfg.Kubelet.Tracing = tracing
		var files Files
		files.AddKubelet(cfg)
		const want = "OTEL_EXPORTER_OTLP_CLIENT_KEY: every user of this machine can read "
		if got := strings.Join(files.Warnings(), "\n"); strings.Contains(got, want) != (tracing != nil) {
			t.Errorf("tracing %v: warnings %q", tracing, got)
		}
	}
}

// TestPipeIsNotRead checks that a kubeconfig in a pipe is left for the command that uses it. Reading it would block
// this test, because nothing is written to the pipe.
func TestPipeIsNotRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "kubeconfig")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var files Files
	files.AddKubeconfig("--kubeconfig", pipe)
	files.AddUser("--as", pipe)
	if got := files.Warnings(); len(got) != 0 {
		t.Errorf("warnings %q, want none", got)
	}
}
