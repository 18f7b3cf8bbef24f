package bootstrap

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/shellword"
)

const (
	// temporaryKey is the file with the private key of a pending request. The file is kept until the certificate is
	// stored, because a restarted node continues its pending request only if it has the key of that request.
	temporaryKey = "kubelet-client.key.tmp"
	// serverTimeout is how long to wait for a healthy apiserver before requesting the certificate anyway.
	serverTimeout = time.Minute
	// approvalTimeout is how long a kubelet without rotation waits for its first certificate before it exits.
	approvalTimeout = time.Hour
)

// bootstrap requests a certificate and writes the kubeconfig if the kubeconfig is not valid, as a kubelet without
// rotateCertificates does. The name of the request is derived from the key. (kubelet: bootstrap.LoadClientCert)
func (o *Options) bootstrap(ctx context.Context) error {
	config, err := o.bootstrapConfig()
	if err != nil || config == nil {
		return err
	}
	requestConfig := rest.CopyConfig(config)
	o.Configure(requestConfig)
	logger := &requestLogger{logger: o.Logger, node: o.NodeName, kind: "client",
		next: "the next start finds this request again: delete it (kubectl delete csr NAME), then start again"}
	requestConfig.Wrap(logger.remember)
	client, err := kubernetes.NewForConfig(requestConfig)
	if err != nil {
		return fmt.Errorf("--bootstrap-kubeconfig %q: %w", o.BootstrapKubeconfig, err)
	}
	files, err := newStore(o.Logger, o.NodeName, "client", o.CertDir, "", "")
	if err != nil {
		return err
	}
	keyFile := filepath.Join(o.CertDir, temporaryKey)
	key, err := bootstrapKey(files, keyFile)
	if err != nil {
		return err
	}
	o.awaitServer(ctx, client)
	issued, err := request(klog.NewContext(ctx, libraryLogger(o.NodeName)), logger.wrap(client), key,
		subject(o.NodeName))
	logger.end()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("no client certificate for node %s: %w", o.NodeName, err)
	}
	if _, err := files.Update(issued, key); err != nil {
		return fmt.Errorf("--cert-dir %q: %w", o.CertDir, err)
	}
	if err := os.Remove(keyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Logger.Warn("cannot remove the key of the finished request", zap.String("node", o.NodeName), zap.Error(err))
	}
	return write(o.Kubeconfig, config, files.CurrentPath())
}

// bootstrapKey returns a private key in PEM. It returns the key of the current certificate if there is one, and
// otherwise the key in keyFile, which belongs to a pending request. If that file is missing, it creates the file with a
// new key.
func bootstrapKey(files certificate.Store, keyFile string) ([]byte, error) {
	if current, err := files.Current(); err == nil && current.PrivateKey != nil {
		if key, err := keyutil.MarshalPrivateKeyToPEM(current.PrivateKey); err == nil {
			return key, nil
		}
	}
	key, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = keyutil.MakeEllipticPrivateKeyPEM(); err == nil {
			err = atomicfile.Write(keyFile, key, 0o600)
		}
	} else if err == nil {
		_, err = keyutil.ParsePrivateKeyPEM(key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove the key file, and start again with a new key", keyFile, err)
	}
	return key, nil
}

// awaitServer waits up to serverTimeout until the apiserver is healthy.
func (o *Options) awaitServer(ctx context.Context, client kubernetes.Interface) {
	logger := o.Logger.With(zap.String("node", o.NodeName))
	var once sync.Once
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, serverTimeout, true,
		func(ctx context.Context) (bool, error) {
			err := client.Discovery().RESTClient().Get().AbsPath("/healthz").Timeout(time.Second).Do(ctx).Error()
			if err != nil {
				once.Do(func() { logger.Warn("the apiserver does not answer yet", zap.Error(err)) })
			}
			return err == nil, nil
		})
	if err != nil && ctx.Err() == nil {
		logger.Warn("the apiserver still does not answer; requesting the certificate anyway")
	}
}

// The function "request" requests a client certificate and waits until the certificate is issued. (kubelet:
// bootstrap.requestNodeCertificate)
func request(ctx context.Context, client kubernetes.Interface, keyPEM []byte, subject pkix.Name) ([]byte, error) {
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	content, err := certutil.MakeCSR(key, &subject, nil, nil)
	if err != nil {
		return nil, err
	}
	// The order of the usages is part of the request's name. Do not use DefaultKubeletClientGetUsages, because it
	// returns them in a different order.
	usages := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	if _, ok := key.(*rsa.PrivateKey); ok {
		usages = append(usages, certificatesv1.UsageKeyEncipherment)
	}
	name, err := requestName(key.(crypto.Signer).Public(), subject, usages) // MakeCSR accepts no other type of key
	if err != nil {
		return nil, err
	}
	name, uid, err := csr.RequestCertificateWithContext(ctx, client, content, name,
		certificatesv1.KubeAPIServerClientKubeletSignerName, nil, usages, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, approvalTimeout)
	defer cancel()
	issued, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%s was not approved within %v; run kubectl certificate approve %s, then start again",
			name, approvalTimeout, shellword.Quote(name))
	}
	return issued, err
}

// requestName returns the kubelet's name for a request: a digest of its key, subject and usages, each base64-encoded
// and followed by a vertical bar. (kubelet: bootstrap.digestedName)
func requestName(public any, subject pkix.Name, usages []certificatesv1.KeyUsage) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	parts := append([]string{string(der), subject.CommonName}, subject.Organization...)
	for _, usage := range usages {
		parts = append(parts, string(usage))
	}
	digest := sha512.New512_256()
	for _, part := range parts {
		fmt.Fprintf(digest, "%s|", base64.RawURLEncoding.EncodeToString([]byte(part)))
	}
	return "node-csr-" + base64.RawURLEncoding.EncodeToString(digest.Sum(nil)), nil
}
