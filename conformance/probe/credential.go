package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/pemfile"
)

// CredentialFiles are the files that hold the credential of an [Identity]. Errors call the fields client-cert,
// client-key, token-file and kubeconfig. These are also the kinds that [ParseCredentialFiles] accepts.
type CredentialFiles struct {
	// ClientCert and ClientKey are PEM files. Set both or neither.
	ClientCert, ClientKey string
	// TokenFile holds a bearer token.
	TokenFile string
	// Kubeconfig is a kubeconfig file, whose current context selects the user. The other fields take precedence.
	Kubeconfig string
}

// ParseCredentialFiles parses a list of KIND:FILE, separated by commas. The kinds are client-cert, client-key,
// token-file and kubeconfig.
func ParseCredentialFiles(list string) (CredentialFiles, error) {
	var c CredentialFiles
	fields := map[string]*string{"client-cert": &c.ClientCert, "client-key": &c.ClientKey,
		"token-file": &c.TokenFile, "kubeconfig": &c.Kubeconfig}
	for source := range strings.SplitSeq(list, ",") {
		kind, file, _ := strings.Cut(source, ":")
		if fields[kind] == nil || file == "" {
			return c, fmt.Errorf("%q: must be KIND:FILE, where KIND is client-cert, client-key, token-file or "+
				"kubeconfig", source)
		}
		*fields[kind] = file
	}
	return c, nil
}

// ReadFiles sets Identities and CA. Identities are the identity "given" with the credential in the given files, if
// there are any, and an identity for each text NAME=KIND:FILE,KIND:FILE... in the list "as". CA has the certificates in
// the PEM file "ca", and is nil if the file's name is empty. Errors begin with the name of a field of CredentialFiles,
// or with "as" or "ca".
func (o *Options) ReadFiles(given CredentialFiles, as []string, ca string) (err error) {
	if ca != "" {
		if o.CA, err = ReadPool(ca); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
	}
	if given != (CredentialFiles{}) {
		i, err := given.Identity("given")
		if err != nil {
			return err
		}
		o.Identities = append(o.Identities, *i)
	}
	for _, text := range as {
		name, files, found := strings.Cut(text, "=")
		if !found || name == "" {
			return fmt.Errorf("as %q: must be NAME=KIND:FILE, as in prometheus=token-file:prometheus.token", text)
		}
		c, err := ParseCredentialFiles(files)
		if err != nil {
			return fmt.Errorf("as %s: %w", name, err)
		}
		i, err := c.Identity(name)
		if err != nil {
			return fmt.Errorf("as %s: %w", name, err)
		}
		o.Identities = append(o.Identities, *i)
	}
	return nil
}

// ReadPool reads the certificates of CAs from a PEM file.
func ReadPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: contains no certificate in PEM", file)
	}
	return pool, nil
}

// Identity reads the files and returns the identity with their credential.
func (c CredentialFiles) Identity(name string) (*Identity, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	i, data := &Identity{Name: name}, config.TLSClientConfig
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("client-cert: %w", err)
	}
	if len(config.CertData) > 0 || len(config.KeyData) > 0 {
		pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
		if err != nil {
			err = fmt.Errorf("client-cert: %w; give a certificate and the key that belongs to it", err)
			return nil, pemfile.Client{CertFile: config.CertFile, KeyFile: config.KeyFile, CertData: data.CertData,
				KeyData: data.KeyData}.Explain(err)
		}
		i.Certificate = &pair
	}
	if config.BearerToken == "" && config.BearerTokenFile != "" {
		data, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return nil, fmt.Errorf("token-file: %w", err)
		}
		config.BearerToken = string(data)
	}
	i.Token = strings.TrimSpace(config.BearerToken)
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

// config returns a client configuration with the credential. It reads only the kubeconfig, and not the other files.
func (c CredentialFiles) config() (*rest.Config, error) {
	config := &rest.Config{}
	if c.Kubeconfig != "" {
		user, err := currentUser(c.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %s: %w", c.Kubeconfig, err)
		}
		config.BearerToken, config.BearerTokenFile = user.Token, user.TokenFile
		config.TLSClientConfig = rest.TLSClientConfig{CertFile: user.ClientCertificate, KeyFile: user.ClientKey,
			CertData: user.ClientCertificateData, KeyData: user.ClientKeyData}
	}
	if (c.ClientCert == "") != (c.ClientKey == "") {
		return nil, fmt.Errorf("client-cert is %q and client-key is %q: both are required", c.ClientCert, c.ClientKey)
	}
	if c.ClientCert != "" {
		config.TLSClientConfig = rest.TLSClientConfig{CertFile: c.ClientCert, KeyFile: c.ClientKey}
	}
	if c.TokenFile != "" {
		config.BearerToken, config.BearerTokenFile = "", c.TokenFile
	}
	return config, nil
}

// currentUser returns the user of the kubeconfig's current context. It does not call clientcmd.BuildConfigFromFlags. If
// the kubeconfig has no cluster and the probe runs in a pod, that function returns the pod's service account instead.
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
		return nil, fmt.Errorf("the current context %q does not exist; choose one with kubectl config use-context",
			config.CurrentContext)
	}
	user := config.AuthInfos[current.AuthInfo]
	switch {
	case user == nil:
		return nil, fmt.Errorf("the user %q of the current context does not exist", current.AuthInfo)
	case user.Exec != nil || user.AuthProvider != nil:
		return nil, errors.New("its user gets the credential from a program, and the probe does not run programs; " +
			"write the user's token to a file, and give the file as token-file")
	}
	return user, nil
}
