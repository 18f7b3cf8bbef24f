// Package config loads a kubelet's configuration: its flags, its configuration file and the drop-ins beside it, as one
// validated [Config]. Start with [NewFlags] and [Flags.Load].
//
// Names, types, defaults, precedence and error texts match the kubelet v1.37 (k8s.io/kubernetes:
// cmd/kubelet/app/server.go, pkg/kubelet/kubeletconfig, pkg/kubelet/apis/config). Flags override drop-ins, and drop-ins
// override the file. With a configuration file, the defaults of kubelet.config.k8s.io/v1beta1 apply: webhook
// authentication and authorization, no anonymous access, no read-only port. Without a configuration file, the legacy
// defaults apply: anonymous access, authorization mode AlwaysAllow, read-only port 10255. The flags, defaults and
// feature gates are embedded from kubelet.json. A program in the e2e module generates kubelet.json from the kubelet,
// and a test in that module fails if the file is out of date.
//
// Deliberate differences from a kubelet:
//   - --port 0 chooses a free port. A kubelet refuses it.
//   - The host is not examined: cgroups, CPUs and the container runtime are not checked.
//   - Load refuses an invalid authorization mode, node IP, cipher suite or TLS version, with the kubelet's texts. A
//     kubelet refuses them later, while it starts.
//   - The patterns of preloadedImagesVerificationAllowlist are not checked.
//   - An unknown feature gate in the file is an error with the text of the kubelet's panic.
package config

import (
	"encoding/json"
	"net"
	"path/filepath"

	"k8s.io/component-base/featuregate"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Config is the effective configuration of one stand-in kubelet. Many goroutines may read it at once.
type Config struct {
	// Version is the version of Kubernetes whose kubelet the stand-in emulates. The zero value is the newest version.
	Version Version

	// Kubelet is the effective KubeletConfiguration: defaults and flags have been applied, and relative paths from the
	// configuration file are absolute. Some fields are pointers here, but plain values in the kubelet's internal type.
	// These pointers are never nil. Port is 0 only with the flag --port 0: the Server then chooses a free port.
	Kubelet kubeletconfigv1beta1.KubeletConfiguration

	// NodeName is --hostname-override or the host name, trimmed and in lower case.
	NodeName string
	// NodeIP is the value of --node-ip. NodeIPs are its parsed addresses: none, one, or a dual-stack pair.
	NodeIP  string
	NodeIPs []net.IP
	// NodeLabels is the value of --node-labels.
	NodeLabels map[string]string

	CertDir             string
	RootDir             string
	Kubeconfig          string
	BootstrapKubeconfig string

	// FeatureGates has every feature gate of the kubelet. Config.Enabled looks up a gate by name.
	FeatureGates featuregate.FeatureGate
	// Ignored lists the flags on the command line that have no effect on a stand-in. The names are sorted and have no
	// leading dashes.
	Ignored []string
	// Warnings lists the problems that a kubelet logs but accepts, one sentence each.
	Warnings []string
	// HasConfigFile is true if --config was given. Without a configuration file, other defaults apply.
	HasConfigFile bool

	flagz map[string]string
}

// Flagz returns all kubelet flags as /flagz serves them. The value of a flag comes from the command line or, if the
// flag was not given, is the flag's default. Values from the configuration file are not included.
func (c *Config) Flagz() map[string]string { return c.flagz }

// Enabled reports whether a feature gate is enabled. Unknown gates are disabled.
func (c *Config) Enabled(gate string) bool { return enabled(c.FeatureGates, c.Version, gate) }

// ServingFiles returns the names of the files with the serving certificate and its key. If neither is configured and
// serverTLSBootstrap is off, selfSigned is true. The files are then kubelet.crt and kubelet.key in CertDir, which a
// kubelet generates if they are missing. If neither is configured and serverTLSBootstrap is on, both names are empty.
// (k8s.io/kubernetes: InitializeTLS in cmd/kubelet/app/server.go)
func (c *Config) ServingFiles() (certFile, keyFile string, selfSigned bool) {
	certFile, keyFile = c.Kubelet.TLSCertFile, c.Kubelet.TLSPrivateKeyFile
	if certFile == "" && keyFile == "" && !c.Kubelet.ServerTLSBootstrap {
		return filepath.Join(c.CertDir, "kubelet.crt"), filepath.Join(c.CertDir, "kubelet.key"), true
	}
	return certFile, keyFile, false
}

// Configz returns the body of GET /configz: a JSON object whose field kubeletconfig is the v1beta1 configuration. If
// the serving certificate is self-signed, the configuration contains the names of its files, as in a kubelet.
func (c *Config) Configz() ([]byte, error) {
	shown := c.Kubelet
	shown.TLSCertFile, shown.TLSPrivateKeyFile, _ = c.ServingFiles()
	body, err := json.Marshal(map[string]*kubeletconfigv1beta1.KubeletConfiguration{"kubeletconfig": &shown})
	return c.Version.withoutNewerStructs(body), err
}
