package kubelettest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/internal/atomicfile"
	"fauxlet/server"
	"fauxlet/testcerts"
)

const loopback = "127.0.0.1"

// The function "load" writes a kubelet's configuration file and certificates into dir, and loads them as a kubelet
// does.
func load(dir string, ca *testcerts.Authority, o *options) (*config.Config, error) {
	if strings.TrimSpace(o.nodeName) == "" {
		return nil, errors.New("WithNodeName: the name is empty; give one such as node-1")
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	serving, err := ca.Server("", []string{loopback, "localhost"}, testcerts.ForNode(o.nodeName))
	if err != nil {
		return nil, fmt.Errorf("create the serving certificate: %w", err)
	}
	if err := serving.Write(path("kubelet.crt"), path("kubelet.key")); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(path("ca.crt"), ca.CertPEM(), 0o600); err != nil {
		return nil, err
	}
	uncached := metav1.Duration{Duration: time.Nanosecond} // a TTL of 0 would mean the default TTL
	kubelet := &kubeletconfigv1beta1.KubeletConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: kubeletconfigv1beta1.SchemeGroupVersion.String(),
			Kind: "KubeletConfiguration"},
		Address: loopback, HealthzPort: ptr.To[int32](0),
		TLSCertFile: path("kubelet.crt"), TLSPrivateKeyFile: path("kubelet.key"),
		Authentication: kubeletconfigv1beta1.KubeletAuthentication{
			X509:      kubeletconfigv1beta1.KubeletX509Authentication{ClientCAFile: path("ca.crt")},
			Webhook:   kubeletconfigv1beta1.KubeletWebhookAuthentication{Enabled: ptr.To(true), CacheTTL: uncached},
			Anonymous: kubeletconfigv1beta1.KubeletAnonymousAuthentication{Enabled: ptr.To(false)},
		},
		Authorization: kubeletconfigv1beta1.KubeletAuthorization{
			Mode: kubeletconfigv1beta1.KubeletAuthorizationModeWebhook,
			Webhook: kubeletconfigv1beta1.KubeletWebhookAuthorization{CacheAuthorizedTTL: uncached,
				CacheUnauthorizedTTL: uncached},
		},
	}
	for _, change := range o.configure {
		change(kubelet)
	}
	data, err := json.Marshal(kubelet)
	if err != nil {
		return nil, fmt.Errorf("WithConfig: %w", err)
	}
	if err := atomicfile.Write(path("kubelet.json"), data, 0o600); err != nil {
		return nil, err
	}
	flags := config.NewFlags()
	flags.Strict = true
	if o.version != "" {
		if err := flags.Version.Set(o.version); err != nil {
			return nil, fmt.Errorf("WithVersion: %w", err)
		}
	}
	given := map[string]string{"config": path("kubelet.json"), "hostname-override": o.nodeName, "cert-dir": dir}
	if kubelet.Port == 0 {
		given["port"] = "0" // in the configuration file, port 0 would mean the default port
	}
	for name, value := range given {
		if err := flags.Set(name, value); err != nil {
			return nil, err
		}
	}
	cfg, err := flags.Load()
	if err != nil {
		return nil, fmt.Errorf("WithConfig: cannot load the changed configuration: %w", err)
	}
	return cfg, nil
}

// The function "listen" opens the kubelet's ports, and stores the numbers of free ports in the configuration.
func listen(standin *server.Server, cfg *config.Config, o *options) (*server.Listeners, error) {
	listeners, err := standin.Listen()
	if err != nil {
		return nil, err
	}
	if listeners.Secure != nil {
		cfg.Kubelet.Port = portOf(listeners.Secure)
	}
	if o.readOnly && listeners.ReadOnly == nil {
		if listeners.ReadOnly, err = net.Listen("tcp", net.JoinHostPort(cfg.Kubelet.Address, "0")); err != nil {
			listeners.Close()
			return nil, fmt.Errorf("WithReadOnlyPort: %w", err)
		}
		cfg.Kubelet.ReadOnlyPort = portOf(listeners.ReadOnly)
	}
	return listeners, nil
}

func portOf(l net.Listener) int32 { return int32(l.Addr().(*net.TCPAddr).Port) }
