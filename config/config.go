// Package config turns what a kubelet is told (its flags, its configuration
// file and the drop-ins beside it) into one validated Config, and reads the
// Scenario file, which is fauxlet's own.
//
// The kubelet v1.37 is followed in names, types, defaults, precedence and
// words (kubelet: cmd/kubelet/app/server.go, pkg/kubelet/kubeletconfig,
// pkg/kubelet/apis/config): flags win over drop-ins, drop-ins over the file;
// with a file the defaults are those of kubelet.config.k8s.io/v1beta1 (webhook
// on, anonymous off, mode Webhook, no read-only port), without one the legacy
// ones (anonymous on, AlwaysAllow, port 10255). The kubelet's flags, defaults
// and feature gates are measured data, embedded from kubelet.json; a program
// in the e2e module prints that file from the kubelet itself, and a test there
// fails when the two differ.
//
// Deliberate differences:
//   - port 0 is refused by a kubelet; here --port 0 asks for a free port;
//   - the host is not looked at: cgroup v1, CPUs and the container runtime
//     refuse nothing here;
//   - a bad authorization mode, node IP, cipher suite or TLS version, which a
//     kubelet finds only while it starts, is refused by Load in the same words;
//   - imagepull allowlist patterns (preloadedImagesVerificationAllowlist) are not checked;
//   - a feature gate that does not exist makes a kubelet panic when it is in
//     the configuration file; here it is an error with the words of that panic.
package config

import (
	"encoding/json"
	"net"
	"path/filepath"

	"k8s.io/component-base/featuregate"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Config is the effective configuration of one stand-in kubelet.
type Config struct {
	// Kubelet is the effective KubeletConfiguration: defaulted, with flags
	// applied and the file's relative paths made absolute. Every pointer that
	// the kubelet's internal type holds as a plain value is set.
	// Port is 0 only when the flag --port 0 asked for a free one.
	Kubelet kubeletconfigv1beta1.KubeletConfiguration

	// NodeName is --hostname-override or the host's name, trimmed and in lower case.
	NodeName string
	// NodeIP is --node-ip as given; NodeIPs holds the addresses in it, none, one or a dual-stack pair.
	NodeIP  string
	NodeIPs []net.IP
	// NodeLabels are those of --node-labels.
	NodeLabels map[string]string

	CertDir             string
	RootDir             string
	Kubeconfig          string
	BootstrapKubeconfig string

	// FeatureGates knows every gate of the kubelet. Use Enabled to ask for one by name.
	FeatureGates featuregate.FeatureGate
	// Ignored names, sorted and without dashes, the flags that were given and mean nothing to a stand-in.
	Ignored []string
	// Warnings tells what the kubelet would only log, one sentence each.
	Warnings []string
	// HasConfigFile is true when --config was given, which selects the set of defaults.
	HasConfigFile bool

	flagz map[string]string
}

// Flagz is what /flagz says of the command line: each flag of a kubelet with its value, which for a flag that was not
// given is the kubelet's default. The file is not in it.
func (c *Config) Flagz() map[string]string { return c.flagz }

// Enabled tells whether a feature gate is on; a gate that the kubelet does not know is off.
func (c *Config) Enabled(gate string) bool {
	return enabled(c.FeatureGates, gate)
}

// ServingFiles names the serving certificate and its key. selfSigned is true when
// neither is configured and no certificate is to be requested from the cluster:
// the files are then kubelet.crt and kubelet.key under CertDir, to be minted if
// they are missing. With serverTLSBootstrap and no files, both names are empty.
// (kubelet: InitializeTLS in cmd/kubelet/app/server.go)
func (c *Config) ServingFiles() (certFile, keyFile string, selfSigned bool) {
	certFile, keyFile = c.Kubelet.TLSCertFile, c.Kubelet.TLSPrivateKeyFile
	if certFile == "" && keyFile == "" && !c.Kubelet.ServerTLSBootstrap {
		return filepath.Join(c.CertDir, "kubelet.crt"), filepath.Join(c.CertDir, "kubelet.key"), true
	}
	return certFile, keyFile, false
}

// Configz is the body of GET /configz: the versioned configuration under the name
// kubeletconfig, with the self-signed serving files filled in, as in the kubelet.
func (c *Config) Configz() ([]byte, error) {
	shown := c.Kubelet
	shown.TLSCertFile, shown.TLSPrivateKeyFile, _ = c.ServingFiles()
	return json.Marshal(map[string]*kubeletconfigv1beta1.KubeletConfiguration{"kubeletconfig": &shown})
}
