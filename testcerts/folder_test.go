package testcerts_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fauxlet/testcerts"
)

// The function "open" opens a folder and obtains two CAs from it, each with one pair.
func open(dir string) (client *testcerts.Pair, err error) {
	folder, err := testcerts.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	ca, err := folder.Authority("ca", "demo-ca")
	if err != nil {
		return nil, err
	}
	other, err := folder.Authority("unknown-ca", "unknown-ca")
	if err != nil {
		return nil, err
	}
	if _, err := folder.Pair("untrusted",
		func() (*testcerts.Pair, error) { return other.Client("untrusted", nil) }); err != nil {
		return nil, err
	}
	return folder.Pair("kubelet-client", func() (*testcerts.Pair, error) { return ca.Client("kubelet-client", nil) })
}

var folderFiles = []string{
	"ca.crt", "ca.key", "kubelet-client.crt", "kubelet-client.key",
	"unknown-ca.crt", "unknown-ca.key", "untrusted.crt", "untrusted.key",
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range folderFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			all[name] = string(data)
		}
	}
	return all
}

func TestFolderIsWrittenOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo", "pki")
	must(open(dir))(t)
	wantFiles(t, dir, folderFiles...)
	for _, name := range folderFiles {
		if filepath.Ext(name) == ".key" {
			wantMode(t, filepath.Join(dir, name), 0o600)
		}
	}
	before := contents(t, dir)
	must(open(dir))(t)
	wantFiles(t, dir, folderFiles...)
	for name, data := range contents(t, dir) {
		if data != before[name] {
			t.Errorf("%s was written again", name)
		}
	}
}

// TestFolderMintsWhatIsMissing checks that a missing pair is made again and signed by the CA that the folder already
// has.
func TestFolderMintsWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	old := must(open(dir))(t)
	before := contents(t, dir)
	for _, name := range []string{"kubelet-client.crt", "kubelet-client.key"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	pair := must(open(dir))(t)
	if pair.Leaf.Equal(old.Leaf) {
		t.Error("Pair returned the removed pair")
	}
	ca := must(testcerts.LoadAuthority(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")))(t)
	if user, _, _, err := authenticate(ca, pair); user != "kubelet-client" {
		t.Errorf("user %q, error %v: the CA in the folder did not sign the certificate", user, err)
	}
	for name, data := range contents(t, dir) {
		if !strings.HasPrefix(name, "kubelet-client.") && data != before[name] {
			t.Errorf("%s was written again", name)
		}
	}
}

func TestFolderNeverWritesOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove []string
		write  map[string]string
		link   string // the name of a dangling symbolic link
		want   []string
	}{
		{name: "key-is-missing", remove: []string{"kubelet-client.key"},
			want: []string{"kubelet-client.crt exists, but", "kubelet-client.key does not; restore the missing file"}},
		{name: "certificate-is-missing", remove: []string{"kubelet-client.crt"},
			want: []string{"kubelet-client.key exists, but", "kubelet-client.crt does not; restore the missing file"}},
		{name: "key-of-the-ca-is-missing", remove: []string{"ca.key"}, want: []string{"ca.crt exists, but"}},
		{name: "ca-is-missing", remove: []string{"ca.crt", "ca.key"},
			want: []string{"ca.crt and", "do not exist, but", `kubelet-client.crt is signed by a CA "demo-ca"`}},
		{name: "garbled", write: map[string]string{"kubelet-client.crt": "garbled"},
			want: []string{"kubelet-client.crt and", "failed to find any PEM data"}},
		{name: "empty", write: map[string]string{"ca.key": ""},
			want: []string{"ca.key: tls: failed to find any PEM data in key input"}},
		{name: "link-to-nowhere", remove: []string{"kubelet-client.crt", "kubelet-client.key"},
			link: "kubelet-client.key",
			want: []string{"kubelet-client.key exists, but"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			must(open(dir))(t)
			for _, name := range c.remove {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for name, data := range c.write {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.link != "" {
				if err := os.Symlink("nowhere", filepath.Join(dir, c.link)); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			_, err := open(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q", err, want)
				}
			}
			after := contents(t, dir)
			for _, name := range folderFiles {
				if after[name] != before[name] {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}

func TestFolderNames(t *testing.T) {
	folder := must(testcerts.OpenFolder(t.TempDir()))(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/x"} {
		if _, err := folder.Authority(name, "ca"); err == nil || !strings.Contains(err.Error(), "not a file name") {
			t.Errorf("name %q: error %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := testcerts.OpenFolder(file); err == nil {
		t.Error("a file was opened as a folder")
	}
}

// TestFolderLeavesNoHalf checks that no key file remains if writing the certificate fails after the key was written.
func TestFolderLeavesNoHalf(t *testing.T) {
	dir := t.TempDir()
	folder := must(testcerts.OpenFolder(dir))(t)
	ca := must(folder.Authority("ca", "ca"))(t)
	certFile, _ := folder.Files("x")
	_, err := folder.Pair("x", func() (*testcerts.Pair, error) {
		if err := os.Mkdir(certFile, 0o755); err != nil {
			return nil, err
		}
		return ca.Client("x", nil)
	})
	if err == nil {
		t.Error("a certificate file replaced a folder")
	}
	wantFiles(t, dir, "ca.crt", "ca.key", "x.crt")
}

// TestFolderConcurrently opens an empty folder from many goroutines at the same time. All must get the pairs that the
// first goroutine has made.
func TestFolderConcurrently(t *testing.T) {
	for range 10 {
		dir := filepath.Join(t.TempDir(), "pki")
		got := make([]*testcerts.Pair, 8)
		errs := make([]error, len(got))
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i], errs[i] = open(dir) })
		}
		wg.Wait()
		for i := range got {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if !bytes.Equal(got[i].CertPEM, got[0].CertPEM) || !bytes.Equal(got[i].KeyPEM, got[0].KeyPEM) {
				t.Fatal("two goroutines got different pairs")
			}
		}
		wantFiles(t, dir, folderFiles...)
		ca := must(testcerts.LoadAuthority(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")))(t)
		if user, _, _, err := authenticate(ca, got[0]); user != "kubelet-client" {
			t.Fatalf("user %q, error %v: the CA in the folder did not sign the certificate", user, err)
		}
	}
}
