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
)

const (
	// temporaryKey keeps the key of a request that is under way, so that the next start goes on with the same request.
	temporaryKey = "kubelet-client.key.tmp"
	// serverPatience is how long the apiserver is waited for before it is asked all the same.
	serverPatience = time.Minute
	// approvalPatience is how long a kubelet that does not rotate waits for its first certificate before it exits.
	approvalPatience = time.Hour
)

// bootstrap is the road of a kubelet without rotateCertificates: unless the kubeconfig is good, one certificate is asked
// for, under a name that is made of the key, and then the kubeconfig is written. (kubelet: bootstrap.LoadClientCert)
func (o *Options) bootstrap(ctx context.Context) error {
	why, err := unusable(o.Kubeconfig)
	if err != nil {
		return err
	}
	if why == nil {
		return nil
	}
	config, err := load("--bootstrap-kubeconfig", o.BootstrapKubeconfig)
	if err != nil {
		return fmt.Errorf("%w (it is needed because of --kubeconfig %q: %v)", err, o.Kubeconfig, why)
	}
	if err := mustBeWritable(o.CertDir); err != nil {
		return err
	}
	o.Logger.Info("asking for a client certificate by the bootstrap kubeconfig", zap.String("node", o.NodeName), zap.String("because", why.Error()))
	asking := rest.CopyConfig(config)
	o.Configure(asking)
	client, err := kubernetes.NewForConfig(asking)
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
	news := &news{logger: o.Logger, node: o.NodeName, kind: "client",
		again: "the next start finds this request again: remove it (kubectl delete csr NAME) and start again"}
	issued, err := request(klog.NewContext(ctx, libraryLogger(o.NodeName)), news.of(client), key, subject(o.NodeName))
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
		o.Logger.Warn("the key of the request stays behind", zap.String("node", o.NodeName), zap.Error(err))
	}
	return write(o.Kubeconfig, config, files.CurrentPath())
}

// bootstrapKey gives the key to ask with, in PEM: that of the certificate before, or of the request before, or a new one.
func bootstrapKey(files certificate.Store, keyFile string) ([]byte, error) {
	if current, err := files.Current(); err == nil && current.PrivateKey != nil {
		if key, err := keyutil.MarshalPrivateKeyToPEM(current.PrivateKey); err == nil {
			return key, nil
		}
	}
	key, _, err := keyutil.LoadOrGenerateKeyFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w; remove %s to have a new key made", err, keyFile)
	}
	return key, nil
}

// awaitServer gives the apiserver some time to come up.
func (o *Options) awaitServer(ctx context.Context, client kubernetes.Interface) {
	silent := false
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, serverPatience, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err := client.Discovery().RESTClient().Get().AbsPath("/healthz").Do(ctx).Error()
		if err != nil && !silent {
			silent = true
			o.Logger.Warn("the apiserver does not answer yet", zap.String("node", o.NodeName), zap.Error(err))
		}
		return err == nil, nil
	})
	if err != nil && ctx.Err() == nil {
		o.Logger.Warn("the apiserver still does not answer; it is asked for a certificate all the same", zap.String("node", o.NodeName))
	}
}

// request asks for a client certificate for the key and waits until it is issued. (kubelet: bootstrap.requestNodeCertificate)
func request(ctx context.Context, client kubernetes.Interface, keyPEM []byte, subject pkix.Name) ([]byte, error) {
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	content, err := certutil.MakeCSR(key, &subject, nil, nil)
	if err != nil {
		return nil, err
	}
	// Not in the order of the library's own list: the name is a digest of it.
	usages := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	if _, ok := key.(*rsa.PrivateKey); ok {
		usages = append(usages, certificatesv1.UsageKeyEncipherment)
	}
	name, err := requestName(signer.Public(), subject, usages)
	if err != nil {
		return nil, err
	}
	name, uid, err := csr.RequestCertificateWithContext(ctx, client, content, name, certificatesv1.KubeAPIServerClientKubeletSignerName, nil, usages, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, approvalPatience)
	defer cancel()
	issued, err := csr.WaitForCertificate(ctx, client, name, uid)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("nobody approved %s within %v; kubectl certificate approve %s, and start again", name, approvalPatience, name)
	}
	return issued, err
}

// requestName is what a kubelet calls the request for that key, subject and usages: a digest of the parts, each in
// base64 and ended by a bar. (kubelet: bootstrap.digestedName)
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
