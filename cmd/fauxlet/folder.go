package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/internal/reviewapi"
	"fauxlet/internal/shellword"
	"fauxlet/testcerts"
)

// demoNode is the name of the demo's node.
const demoNode = "demo-node"

// demoFiles are the demo's files as they are first written.
//
//go:embed demo
var demoFiles embed.FS

// demoTokens are the users in tokens.csv; their tokens are random.
var demoTokens = [][]string{
	{"system:serviceaccount:monitoring:prometheus", "7f1a3c1e-0d7e-4b6e-9d3f-0c6f3a1b2c4d", "system:serviceaccounts,system:serviceaccounts:monitoring"},
}

// demoFolder is the folder of a demo. What is missing in it is written, and what is there is kept.
type demoFolder struct {
	dir string
	ca  *testcerts.Authority
}

func openDemoFolder(dir string) (*demoFolder, error) {
	f := &demoFolder{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := f.writePKI(); err != nil {
		return nil, err
	}
	for _, name := range []string{"kubelet.yaml", "rbac.yaml", "scenario.yaml"} {
		data, err := demoFiles.ReadFile("demo/" + name)
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

func (f *demoFolder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// write writes a file that is not there.
func (f *demoFolder) write(name string, data []byte, mode os.FileMode) error {
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

// writePKI makes the CA that the demo's kubelet trusts, its serving certificate, and the clients of the tour.
func (f *demoFolder) writePKI() error {
	pki, err := testcerts.OpenFolder(f.path("pki"))
	if err != nil {
		return err
	}
	if f.ca, err = pki.Authority("ca", "fauxlet-demo-ca"); err != nil {
		return err
	}
	strangers, err := pki.Authority("stranger-ca", "stranger-ca")
	if err != nil {
		return err
	}
	for name, mint := range map[string]func() (*testcerts.Pair, error){
		"kubelet-server": func() (*testcerts.Pair, error) {
			return f.ca.Server(demoNode, []string{demoNode, "localhost", "127.0.0.1", "::1"})
		},
		"kubelet-client": func() (*testcerts.Pair, error) { return f.ca.Client("kubelet-client", nil) },
		"viewer":         func() (*testcerts.Pair, error) { return f.ca.Client("viewer", nil) },
		"expired":        func() (*testcerts.Pair, error) { return f.ca.Client("expired", nil, testcerts.Expired) },
		"stranger":       func() (*testcerts.Pair, error) { return strangers.Client("stranger", nil) },
	} {
		if _, err := pki.Pair(name, mint); err != nil {
			return err
		}
	}
	return nil
}

func newTokens() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, user := range demoTokens {
		random := make([]byte, 16)
		if _, err := rand.Read(random); err != nil {
			return nil, err
		}
		if err := w.Write(append([]string{hex.EncodeToString(random)}, user...)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// token is the token of a user in tokens.csv.
func (f *demoFolder) token(_ context.Context, user string) (string, error) {
	file, err := os.Open(f.path("tokens.csv"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = -1
	records, err := reader.ReadAll()
	if err != nil {
		return "", fmt.Errorf("tokens.csv: not CSV")
	}
	for _, record := range records {
		if len(record) > 1 && record[1] == user {
			return record[0], nil
		}
	}
	return "", fmt.Errorf("tokens.csv has no token of %s", user)
}

func (f *demoFolder) line(user string) string {
	return fmt.Sprintf("$(grep %s %s | cut -d, -f1)", user, shellword.Quote(f.path("tokens.csv")))
}

// reviewsCluster is what the embedded review API calls itself in a kubeconfig.
const reviewsCluster = "fauxlet-reviews"

// reviews is the review API in the place of an apiserver, listening where the kubeconfig says, or else somewhere and
// the kubeconfig says so. Nil, without an error: the kubeconfig is somebody else's, who reviews by other means.
func (f *demoFolder) reviews(logger *zap.Logger) (*reviewapi.Server, net.Listener, error) {
	address, token, ours, err := f.kubeconfig()
	if err != nil || !ours {
		return nil, nil, err
	}
	serving, err := f.ca.Server(reviewsCluster, []string{"localhost", "127.0.0.1", "::1"})
	if err != nil {
		return nil, nil, err
	}
	certificate := serving.TLS()
	reviews, err := reviewapi.New(reviewapi.Options{
		RBAC:        []string{f.path("rbac.yaml")},
		Tokens:      f.path("tokens.csv"),
		CallerToken: token,
		Certificate: &certificate,
		CA:          f.ca.CertPEM(),
		OnReload:    logReload(logger),
		ErrorLog:    zap.NewStdLog(logger),
	})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		// Somebody else has the port of the last time.
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
	}
	if listener.Addr().String() != address {
		if err := reviews.WriteKubeconfig(f.path("kubeconfig"), listener.Addr().String()); err != nil {
			listener.Close()
			return nil, nil, err
		}
	}
	logger.Info("serving reviews in the place of an apiserver", zap.String("address", listener.Addr().String()), zap.String("from", reviews.Summary()))
	return reviews, listener, nil
}

// kubeconfig reads where the review API was the last time and the token that it knew its caller by. A kubeconfig that
// is not there is ours to write.
func (f *demoFolder) kubeconfig() (address, token string, ours bool, err error) {
	path := f.path("kubeconfig")
	if there, err := exists(path); err != nil || !there {
		return "127.0.0.1:0", "", err == nil, err
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return "", "", false, fmt.Errorf("kubeconfig %s: %w; remove it to have it written again", path, err)
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil || current.Cluster != reviewsCluster || config.Clusters[reviewsCluster] == nil {
		return "", "", false, nil
	}
	server, err := url.Parse(config.Clusters[reviewsCluster].Server)
	if err != nil {
		return "", "", false, fmt.Errorf("kubeconfig %s: %w; remove it to have it written again", path, err)
	}
	if user := config.AuthInfos[current.AuthInfo]; user != nil {
		token = user.Token
	}
	return server.Host, token, true, nil
}
