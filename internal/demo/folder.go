package demo

import (
	"crypto/rand"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/fileaccess"
	"fauxlet/testcerts"
)

// nodeName is the name of the demo's node.
const nodeName = "demo-node"

// initialFiles are the files that a new demo folder gets.
//
//go:embed files
var initialFiles embed.FS

// Folder is the folder with the demo's files: kubelet.yaml, rbac.yaml, scenario.yaml, tokens.csv, kubeconfig and pki/.
type Folder struct {
	dir string
	ca  *testcerts.Authority
}

// OpenFolder creates the folder if it does not exist, and writes the files that are missing. It does not change
// existing files, so a user can edit them and run the demo again. It returns an error if another user can create files
// in the folder, or if the kubeconfig has a credential plugin: the demo trusts these files, and would run the plugin.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{dir: dir}
	if err := atomicfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	if err := fileaccess.CheckFolder(dir); err != nil {
		return nil, err
	}
	if err := f.checkKubeconfig(); err != nil {
		return nil, err
	}
	if err := f.writePKI(); err != nil {
		return nil, err
	}
	for _, name := range []string{"kubelet.yaml", "rbac.yaml", "scenario.yaml"} {
		data, err := initialFiles.ReadFile("files/" + name)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.WriteNew(f.path(name), data, 0o644); err != nil {
			return nil, err
		}
	}
	tokens := rand.Text() + "," + prometheusUser + `,7f1a3c1e-0d7e-4b6e-9d3f-0c6f3a1b2c4d,` +
		`"system:serviceaccounts,system:serviceaccounts:monitoring"` + "\n"
	return f, atomicfile.WriteNew(f.path("tokens.csv"), []byte(tokens), 0o600)
}

func (f *Folder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// caFile returns the path of the client CA file. The same CA signs the kubelet's serving certificate.
func (f *Folder) caFile() string { return f.path("pki", "ca.crt") }

// clientFiles returns the paths of a client's certificate and key.
func (f *Folder) clientFiles(c client) (certFile, keyFile string) {
	return f.path("pki", c.Certificate+".crt"), f.path("pki", c.Certificate+".key")
}

// writePKI creates the CAs, the serving certificate and the client certificates that do not exist yet.
func (f *Folder) writePKI() error {
	pki, err := testcerts.OpenFolder(f.path("pki"))
	if err != nil {
		return err
	}
	if f.ca, err = pki.Authority("ca", "fauxlet-demo-ca"); err != nil {
		return err
	}
	unknown, err := pki.Authority("unknown-ca", "unknown-ca")
	if err != nil {
		return err
	}
	for name, mint := range map[string]func() (*testcerts.Pair, error){
		"kubelet-server": func() (*testcerts.Pair, error) {
			return f.ca.Server("", []string{nodeName, "localhost", "127.0.0.1", "::1"}, testcerts.ForNode(nodeName))
		},
		"kubelet-client": func() (*testcerts.Pair, error) { return f.ca.Client("kubelet-client", nil) },
		"viewer":         func() (*testcerts.Pair, error) { return f.ca.Client("viewer", nil) },
		"expired":        func() (*testcerts.Pair, error) { return f.ca.Client("expired", nil, testcerts.Expired) },
		"untrusted":      func() (*testcerts.Pair, error) { return unknown.Client("untrusted", nil) },
	} {
		if _, err := pki.Pair(name, mint); err != nil {
			return err
		}
	}
	return nil
}

// token returns the token of a user in tokens.csv. If the argument is empty or invalidToken, token returns the argument
// unchanged.
func (f *Folder) token(user string) (string, error) {
	if user == "" || user == invalidToken {
		return user, nil
	}
	data, err := os.ReadFile(f.path("tokens.csv"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(line, ","); len(fields) > 1 && fields[1] == user {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("%s has no token for the user %s; delete the file, and the demo writes a new one",
		f.path("tokens.csv"), user)
}
