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
	// What was there, be it open to all, is replaced with its mode.
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
		t.Error("the pair written last is not the one that is there")
	}
}

func TestWriteFailsWhole(t *testing.T) {
	pair := must(must(testcerts.NewAuthority("ca"))(t).Client("kubelet-client", nil))(t)
	dir := t.TempDir()
	if err := pair.Write(filepath.Join(dir, "no-folder", "x.crt"), filepath.Join(dir, "x.key")); err == nil {
		t.Error("a certificate was written into a folder that is not there")
	}
	if err := pair.Write(filepath.Join(dir, "x.crt"), filepath.Join(dir, "no-folder", "x.key")); err == nil {
		t.Error("a key was written into a folder that is not there")
	}
	if err := os.Mkdir(filepath.Join(dir, "y.key"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pair.Write(filepath.Join(dir, "y.crt"), filepath.Join(dir, "y.key")); err == nil {
		t.Error("a key was written over a folder")
	}
	wantFiles(t, dir, "y.key")
}

func wantMode(t *testing.T, file string, want fs.FileMode) {
	t.Helper()
	if got := must(os.Stat(file))(t).Mode(); got != want {
		t.Errorf("%s has mode %v, want %v", file, got, want)
	}
}

// wantFiles wants nothing else in the folder: no temporary file stays.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	for _, entry := range must(os.ReadDir(dir))(t) {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}
