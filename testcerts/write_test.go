package testcerts_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"fauxlet/testcerts"
)

func TestWriteModes(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key")
	// An existing key file that all users can read must be replaced by a file that only its owner can read.
	if err := os.WriteFile(keyFile, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	ca := must(testcerts.NewAuthority("ca"))(t)
	pair := must(ca.Client("kubelet-client", nil))(t)
	for _, w := range []interface {
		Write(certFile, keyFile string) error
	}{ca, pair} {
		if err := w.Write(certFile, keyFile); err != nil {
			t.Fatal(err)
		}
		wantMode(t, keyFile, 0o600)
		wantMode(t, certFile, 0o644)
		wantFiles(t, dir, "x.crt", "x.key")
	}
	if loaded := must(testcerts.LoadPair(certFile, keyFile))(t); !loaded.Leaf.Equal(pair.Leaf) {
		t.Error("the files do not contain the pair that was written last")
	}
}

func TestWriteFailsWhole(t *testing.T) {
	pair := must(must(testcerts.NewAuthority("ca"))(t).Client("kubelet-client", nil))(t)
	dir := t.TempDir()
	if err := pair.Write(filepath.Join(dir, "no-folder", "x.crt"), filepath.Join(dir, "x.key")); err == nil {
		t.Error("writing a certificate into a missing folder succeeded")
	}
	if err := pair.Write(filepath.Join(dir, "x.crt"), filepath.Join(dir, "no-folder", "x.key")); err == nil {
		t.Error("writing a key into a missing folder succeeded")
	}
	if err := os.Mkdir(filepath.Join(dir, "y.key"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pair.Write(filepath.Join(dir, "y.crt"), filepath.Join(dir, "y.key")); err == nil {
		t.Error("a key file replaced a folder")
	}
	wantFiles(t, dir, "y.key")
}

func wantMode(t *testing.T, file string, want fs.FileMode) {
	t.Helper()
	if got := must(os.Stat(file))(t).Mode(); got != want {
		t.Errorf("%s has mode %v, want %v", file, got, want)
	}
}

// wantFiles fails the test unless the folder contains exactly the given files, and therefore no temporary file.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	for _, entry := range must(os.ReadDir(dir))(t) {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder %s contains %q, want %q", dir, got, want)
	}
}
