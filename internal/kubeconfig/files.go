package kubeconfig

import (
	"crypto/tls"

	"k8s.io/client-go/rest"

	"fauxlet/internal/pemfile"
)

// CheckFiles returns an error if a client certificate and its key do not belong together, or if one of them or the CAs
// cannot be read. The error states what is wrong with the file, and the command that mends it. Without this check, some
// of these errors appear only with the first request.
func CheckFiles(config *rest.Config) error {
	content := rest.Config{TLSClientConfig: config.TLSClientConfig}
	err := rest.LoadTLSFiles(&content)
	if err == nil && len(content.CertData) > 0 {
		_, err = tls.X509KeyPair(content.CertData, content.KeyData)
	}
	if err == nil {
		_, err = rest.TLSConfigFor(&content) // reads the CAs
	}
	files := config.TLSClientConfig
	return pemfile.Client{CertFile: files.CertFile, KeyFile: files.KeyFile, CAFile: files.CAFile,
		CertData: files.CertData,
		KeyData:  files.KeyData, CAData: files.CAData}.Explain(err)
}
