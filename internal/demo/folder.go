package demo

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fauxlet/internal/shellword"
	"fauxlet/testcerts"
)

// nodeName is the name of the demo's node.
const nodeName = "demo-node"

// initialFiles are the initial contents of the folder's files.
//
//go:embed files
var initialFiles embed.FS

// Folder is the folder with the demo's files: kubelet.yaml, rbac.yaml, scenario.yaml, tokens.csv, kubeconfig and pki/.
type Folder struct {
	dir string
	ca  *testcerts.Authority
}

// OpenFolder creates the folder if it does not exist, and writes the files that are missing. It does not change
// existing files, so a user can edit them and run the demo again.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
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
		if err := f.write(name, data, 0o644); err != nil {
			return nil, err
		}
	}
	tokens, err := newTokens()
	if err != nil {
		return nil, err
	}
	return f, f.write("tokens.csv", tokens, 0o600)
}

func (f *Folder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// caFile is the client CA of the kubelet. The same CA signs the kubelet's serving certificate.
func (f *Folder) caFile() string { return f.path("pki", "ca.crt") }

// write writes a file if the file does not exist.
func (f *Folder) write(name string, data []byte, mode os.FileMode) error {
	file, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// writePKI writes the CA, the serving certificate and the client certificates that are missing.
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
			return f.ca.Server(nodeName, []string{nodeName, "localhost", "127.0.0.1", "::1"})
		},
		kubeletClient.certificate: func() (*testcerts.Pair, error) { return f.ca.Client("kubelet-client", nil) },
		viewer.certificate:        func() (*testcerts.Pair, error) { return f.ca.Client("viewer", nil) },
		expired.certificate: func() (*testcerts.Pair, error) {
			return f.ca.Client("expired", nil, testcerts.Expired)
		},
		untrusted.certificate: func() (*testcerts.Pair, error) { return unknown.Client("untrusted", nil) },
	} {
		if _, err := pki.Pair(name, mint); err != nil {
			return err
		}
	}
	return nil
}

// newTokens returns the content of a tokens.csv with a random token for prometheus.
func newTokens() ([]byte, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write([]string{
		hex.EncodeToString(random), prometheusUser, "7f1a3c1e-0d7e-4b6e-9d3f-0c6f3a1b2c4d",
		"system:serviceaccounts,system:serviceaccounts:monitoring",
	})
	w.Flush()
	return b.Bytes(), errors.Join(err, w.Error())
}

// token returns the token of a user in tokens.csv.
func (f *Folder) token(user string) (string, error) {
	file, err := os.Open(f.path("tokens.csv"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = -1
	records, err := reader.ReadAll()
	if err != nil {
		// Do not include the reader's error, because it may quote a token.
		return "", fmt.Errorf("%s: not a CSV file", f.path("tokens.csv"))
	}
	for _, record := range records {
		if len(record) > 1 && record[1] == user {
			return record[0], nil
		}
	}
	return "", fmt.Errorf("%s has no token for the user %s", f.path("tokens.csv"), user)
}

// tokenCommand is a shell substitution that reads a user's token from tokens.csv.
func (f *Folder) tokenCommand(user string) string {
	return fmt.Sprintf("$(grep %s %s | cut -d, -f1)", user, shellword.Quote(f.path("tokens.csv")))
}
