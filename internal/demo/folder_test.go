package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenFolderKeepsEdits(t *testing.T) {
	folder := openFolder(t)
	const edited = "# edited\n"
	writeFile(t, folder.path("rbac.yaml"), edited)
	before := readFile(t, folder.path("pki", "viewer.crt"))
	if err := os.Remove(folder.path("kubelet.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(folder.dir); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, folder.path("rbac.yaml")); got != edited {
		t.Errorf("rbac.yaml is %q, want the edited one", got)
	}
	if readFile(t, folder.path("pki", "viewer.crt")) != before {
		t.Error("viewer.crt was replaced")
	}
	if got := readFile(t, folder.path("kubelet.yaml")); !strings.Contains(got, "KubeletConfiguration") {
		t.Errorf("the missing kubelet.yaml was not written: %q", got)
	}
}

// TestOpenFolderRefusesForeignFiles checks that the demo does not run with files that another user can have made.
func TestOpenFolderRefusesForeignFiles(t *testing.T) {
	const plugin = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [ran]}}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`
	tests := map[string]struct {
		prepare func(dir string) error
		want    string
	}{
		"a folder that all users can write to": {func(dir string) error { return os.Chmod(dir, 0o777) },
			"all users can create files in the folder"},
		"a credential plugin": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(plugin), 0o600)
		}, `exec would run the program "touch"`},
	}
	if os.Geteuid() == 0 { // only root can give a folder to another user
		tests["a folder of another user"] = struct {
			prepare func(dir string) error
			want    string
		}{func(dir string) error { return os.Chown(dir, 65533, 65533) }, "belongs to another user"}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.prepare(dir); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadDir(dir)
			if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
				t.Errorf("%d files, %v, want %d: nothing may be written", len(after), err, len(before))
			}
		})
	}
}

func TestTokenErrorsShowNoToken(t *testing.T) {
	folder := openFolder(t)
	for name, test := range map[string]struct{ content, want string }{
		"no line": {content: "secret-token,\"" + prometheusUser, want: "has no token for the user " + prometheusUser},
		"no user": {content: "secret-token,other,uid\n", want: "has no token for the user " + prometheusUser},
	} {
		writeFile(t, folder.path("tokens.csv"), test.content)
		_, err := folder.token(prometheusUser)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func TestLastReviewsReadsKubeconfig(t *testing.T) {
	const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: CLUSTER, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: kubelet, user: {token: secret}}]
contexts: [{name: c, context: {cluster: CLUSTER, user: kubelet}}]
current-context: c
`
	folder := openFolder(t)
	if got, err := folder.lastReviews(); err != nil || got == nil || got.address != "127.0.0.1:0" {
		t.Errorf("without a kubeconfig: %+v, %v, want a free port", got, err)
	}
	writeFile(t, folder.path("kubeconfig"), strings.ReplaceAll(kubeconfig, "CLUSTER", reviewsCluster))
	want := reviewsEndpoint{"127.0.0.1:6443", "secret"}
	if got, err := folder.lastReviews(); err != nil || got == nil || *got != want {
		t.Errorf("the demo's kubeconfig: %+v, %v", got, err)
	}
	writeFile(t, folder.path("kubeconfig"), strings.ReplaceAll(kubeconfig, "CLUSTER", "production"))
	if got, err := folder.lastReviews(); err != nil || got != nil {
		t.Errorf("the kubeconfig of another cluster: %+v, %v, want nil", got, err)
	}
	writeFile(t, folder.path("kubeconfig"), "{")
	if _, err := folder.lastReviews(); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("a broken kubeconfig: error %v", err)
	}
}
