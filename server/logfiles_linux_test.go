package server

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLogFiles compares the log files in memory with the same files in a folder of the host, which a kubelet opens
// through os.Root and http.Dir.
func FuzzLogFiles(f *testing.F) {
	texts := map[string]string{"kubelet.log": "started\n", "containers/deep/c.log": "c\n", "containers/index.html": "i",
		"noext": "plain"}
	for _, name := range []string{
		"kubelet.log", "./kubelet.log", "containers/", "containers", "containers/deep//c.log",
		"containers/../kubelet.log", "containers/deep/../../kubelet.log", "containers/..", "containers/../..",
		"../kubelet.log", "..", ".", "", "./",
		"/kubelet.log", "kubelet.log/", "kubelet.log/.", "kubelet.log/..", "kubelet.log/x", "nope", "nope/",
		"nope/../noext",
		"nope/" + strings.Repeat("n", 256), "kubelet.log/" + strings.Repeat("n", 256),
		"containers/" + strings.Repeat("n", 256), strings.Repeat("n", 255), strings.Repeat("n", 256),
		strings.Repeat("n/", 2100), "kubelet.log/" + strings.Repeat("n/", 2100),
		"containers/" + strings.Repeat("./", 2100),
		"a\x00b", "kubelet.log/a\x00b", "nope/a\x00", "containers/a\x00/../deep", "\n", "kubelet.log\n",
		`containers\deep\c.log`, "containers/index.html", "...", "containers/.../x", "é", "\xff",
	} {
		f.Add(name)
	}
	dir := f.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	logs, err := newNodeLogs("node-1", texts, false)
	if err != nil {
		f.Fatal(err)
	}
	onHost := http.StripPrefix("/logs/", http.FileServer(http.Dir(dir)))

	f.Fuzz(func(t *testing.T, name string) {
		if name != "" { // os.Root has an error of its own for an empty name, which no query can contain
			_, want := root.Stat(name)
			if got := logs.files.stat(name); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("stat %.80q: %v, want %v", name, got, want)
			}
			wantText, wantErr := readInRoot(dir, name)
			gotText, gotErr := logs.files.read(name)
			if string(gotText) != string(wantText) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("read %.80q: %q, %v; want %q, %v", name, gotText, gotErr, wantText, wantErr)
			}
		}
		if len(name) > 3500 && len(name) < 4500 {
			return // the limit for a whole path depends on the length of the folder's name
		}
		get := func(handler http.Handler) string {
			request := httptest.NewRequest(http.MethodGet, "/logs/", nil)
			request.URL = &url.URL{Path: "/logs/" + name}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			return fmt.Sprint(recorder.Code, recorder.Header()["Location"], recorder.Body)
		}
		if got, want := get(logs), get(onHost); got != want {
			t.Errorf("GET %.80q: %q, want %q", name, got, want)
		}
	})
}

// readInRoot reads a file as a kubelet reads the log of a service. (kubelet: heuristicsCopyFileLog)
func readInRoot(dir, name string) ([]byte, error) {
	file, err := os.OpenInRoot(dir, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return io.ReadAll(file)
}
