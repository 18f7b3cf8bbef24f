package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// CredentialFiles are the files that hold the credential of an [Identity]. In errors, the fields have the names of
// the KINDs of [ParseCredentialFiles]: client-cert, client-key, token-file and kubeconfig.
type CredentialFiles struct {
	// ClientCert and ClientKey are PEM files. Either both or neither are set.
	ClientCert, ClientKey string
	// TokenFile holds a bearer token.
	TokenFile string
	// Kubeconfig is a kubeconfig file. Identity reads the user of its current context. The other fields take
	// precedence over that user's credential.
	Kubeconfig string
}

// ParseCredentialFiles parses a list of KIND:FILE, separated by commas. The kinds are client-cert, client-key,
// token-file and kubeconfig.
func ParseCredentialFiles(list string) (CredentialFiles, error) {
	var c CredentialFiles
	fields := map[string]*string{
		"client-cert": &c.ClientCert, "client-key": &c.ClientKey, "token-file": &c.TokenFile,
		"kubeconfig": &c.Kubeconfig,
	}
	for source := range strings.SplitSeq(list, ",") {
		kind, file, _ := strings.Cut(source, ":")
		if fields[kind] == nil || file == "" {
			return c, fmt.Errorf("%q: must be KIND:FILE, where KIND is client-cert, client-key, token-file or "+
				"kubeconfig",
				source)
		}
		*fields[kind] = file
	}
	return c, nil
}

// Identity reads the files and returns the identity with their credential.
func (c CredentialFiles) Identity(name string) (*Identity, error) {
	user, err := c.user()
	if err != nil {
		return nil, err
	}
	i := &Identity{Name: name}
	if i.Certificate, err = keyPairOf(user); err != nil {
		return nil, err
	}
	token, err := dataOrFile([]byte(user.Token), user.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token-file: %w", err)
	}
	i.Token = strings.TrimSpace(string(token))
	switch {
	case strings.ContainsFunc(i.Token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return nil, errors.New("token-file: not a token: it contains spaces or characters that are not ASCII")
	case c.TokenFile != "" && i.Token == "":
		return nil, fmt.Errorf("token-file: %s: the file is empty", c.TokenFile)
	case i.Certificate == nil && i.Token == "":
		return nil, fmt.Errorf("kubeconfig: %s: its user has neither a client certificate nor a token", c.Kubeconfig)
	}
	return i, nil
}

// user returns the credential as a user of a kubeconfig.
func (c CredentialFiles) user() (*clientcmdapi.AuthInfo, error) {
	user := &clientcmdapi.AuthInfo{}
	if c.Kubeconfig != "" {
		var err error
		if user, err = currentUser(c.Kubeconfig); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	if c.ClientCert != "" || c.ClientKey != "" {
		if c.ClientCert == "" || c.ClientKey == "" {
			return nil, fmt.Errorf("client-cert is %q and client-key is %q: both are "+
				"required", c.ClientCert, c.ClientKey)
		}
		user.ClientCertificate, user.ClientCertificateData = c.ClientCert, nil
		user.ClientKey, user.ClientKeyData = c.ClientKey, nil
	}
	if c.TokenFile != "" {
		user.Token, user.TokenFile = "", c.TokenFile
	}
	return user, nil
}

// currentUser reads the user of a kubeconfig's current context.
func currentUser(kubeconfig string) (*clientcmdapi.AuthInfo, error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, err
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return nil, fmt.Errorf("%s: the current context %q does not exist; choose one with kubectl config use-context",
			kubeconfig, config.CurrentContext)
	}
	user := config.AuthInfos[current.AuthInfo]
	switch {
	case user == nil:
		return nil, fmt.Errorf("%s: the user %q does not exist", kubeconfig, current.AuthInfo)
	case user.Exec != nil || user.AuthProvider != nil:
		return nil, fmt.Errorf("%s: the user %q gets its credential from a program, which the probe does not run; "+
			"write its token to a file, and give that file", kubeconfig, current.AuthInfo)
	}
	return user, nil
}

// keyPairOf returns the client certificate of a kubeconfig user, or nil if the user has none.
func keyPairOf(user *clientcmdapi.AuthInfo) (*tls.Certificate, error) {
	cert, err := dataOrFile(user.ClientCertificateData, user.ClientCertificate)
	if err != nil {
		return nil, fmt.Errorf("client-cert: %w", err)
	}
	key, err := dataOrFile(user.ClientKeyData, user.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("client-key: %w", err)
	}
	if len(cert) == 0 && len(key) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("client-cert: %w; give a certificate and the key that belongs to it", err)
	}
	return &pair, nil
}

func dataOrFile(data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	return os.ReadFile(file)
}
