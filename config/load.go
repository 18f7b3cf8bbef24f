package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	nodeutil "k8s.io/component-helpers/node/util"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Load loads the configuration in the kubelet's order. It sets the feature gates of the command line and validates the
// node labels. Then it reads the file and the drop-ins, and applies all flags again, so that flags override the file
// and the drop-ins. At the end, it validates the configuration and makes the checks that a kubelet makes while it
// starts. An error begins with the text that the kubelet would print. Load reads the files on each call.
// (k8s.io/kubernetes: NewKubeletCommand in cmd/kubelet/app/server.go)
func (f *Flags) Load() (*Config, error) {
	kc, l, err := f.effective()
	if err != nil {
		return nil, err
	}
	c := &Config{Version: f.Version, Kubelet: *kc, CertDir: f.value("cert-dir"), RootDir: f.value("root-dir"),
		Kubeconfig: f.value("kubeconfig"), BootstrapKubeconfig: f.value("bootstrap-kubeconfig"), FeatureGates: l.gates,
		Ignored: f.ignored(), HasConfigFile: f.value("config") != "", NodeIP: f.value("node-ip"),
		NodeLabels: maps.Clone(f.labels), flagz: f.flagz()}
	if err := l.start(c, f); err != nil {
		return nil, err
	}
	c.Warnings = l.warnings
	return c, nil
}

// effective returns the validated configuration, and the loader that read it. It does not make the checks that a
// kubelet makes later, while it starts; see the loader's method "start".
func (f *Flags) effective() (*kubeletConfiguration, *loader, error) {
	for _, g := range f.given {
		if why := f.Version.lacksFlag(g.flag.Name); why != "" {
			return nil, nil, FlagError(fmt.Errorf("unknown flag: --%s (%s; the emulated version is %s)", g.flag.Name,
				why, f.Version))
		}
	}
	gates := newGates(f.Version)
	kc := legacyConfiguration(f.Version, gates)
	if err := f.replay(kc); err != nil {
		return nil, nil, FlagError(err)
	}
	if err := setGates(gates, f.Version, kc); err != nil {
		return nil, nil, err
	}
	if err := validateLabels(f.labels); err != nil {
		return nil, nil, fmt.Errorf("failed to validate kubelet flags: %w", err)
	}
	l := &loader{gates: gates, version: f.Version, strict: f.Strict}
	kc, err := f.files(l, kc)
	if err != nil {
		return nil, nil, err
	}
	if len(f.overrides) > 0 {
		if kc, err = l.merge(kc, f.overrides, true); err != nil {
			return nil, nil, err
		}
	}
	if err := setGates(gates, f.Version, kc); err != nil {
		return nil, nil, err
	}
	if errs := logsapi.Validate(&kc.Logging, gates, field.NewPath("logging")); len(errs) > 0 {
		return nil, nil, fmt.Errorf("initialize logging: %w", errs.ToAggregate())
	}
	if err := validate(kc, gates, f.Version, kc.Port == 0 && f.wasGiven("port")); err != nil {
		return nil, nil, fmt.Errorf("failed to validate kubelet configuration, error: %w, path: %s", err, f.sources())
	}
	f.Version.removeNewerFields(kc)
	kc.APIVersion, kc.Kind = kubeletconfigv1beta1.SchemeGroupVersion.String(), "KubeletConfiguration"
	return kc, l, nil
}

// This method reads the configuration file and the drop-ins, and then applies the flags again. The argument kc is the
// configuration that the flags alone give. Without a configuration file and drop-ins, the method returns kc unchanged.
func (f *Flags) files(l *loader, kc *kubeletConfiguration) (*kubeletConfiguration, error) {
	file, dir := f.value("config"), f.value("config-dir")
	if file == "" && dir == "" {
		return kc, nil
	}
	var err error
	if file != "" {
		if kc, err = l.file(file); err != nil {
			return nil, &FileError{File: file, err: err, text: fmt.Sprintf(
				"failed to load kubelet config file, path: %[1]s, error: failed to load Kubelet config file %[1]s, "+
					"error %[2]v", file, err)}
		}
	}
	if dir != "" {
		if kc, err = l.dropIns(kc, dir); err != nil {
			return nil, fmt.Errorf("failed to merge kubelet configs: %w", err)
		}
	}
	original := kc.FeatureGates
	if err := f.replay(kc); err != nil {
		return nil, fmt.Errorf("failed to precedence kubeletConfigFlag: %w", err)
	}
	for name, on := range original {
		if _, ok := kc.FeatureGates[name]; !ok {
			kc.FeatureGates[name] = on
		}
	}
	return kc, nil
}

func setGates(gates featuregate.MutableFeatureGate, v Version, kc *kubeletConfiguration) error {
	if err := setFromMap(gates, v, kc.FeatureGates); err != nil {
		return fmt.Errorf("failed to set feature gates from initial flags-based config: %w", err)
	}
	return nil
}

// sources returns the names of the files and other sources of the configuration, for error texts.
func (f *Flags) sources() string {
	all := []string{f.value("config"), f.value("config-dir"), "command line"}
	return strings.Join(slices.DeleteFunc(all, func(source string) bool { return source == "" }), ", ")
}

// This method makes the checks that a kubelet makes while it starts, after it has validated its configuration.
// (k8s.io/kubernetes: InitializeTLS, BuildAuthz, RunKubelet in cmd/kubelet/app)
func (l *loader) start(c *Config, f *Flags) error {
	if err := l.tls(&c.Kubelet); err != nil {
		return fmt.Errorf("failed to construct kubelet dependencies: %w", err)
	}
	var err error
	override := f.value("hostname-override")
	if c.NodeName, err = nodeutil.GetHostname(override); err != nil {
		return fmt.Errorf("failed to run Kubelet: %w; set --hostname-override to the node's name", err)
	}
	// A kubelet starts, and tries for ever to register a Node that the apiserver refuses.
	if wrong := validation.IsDNS1123Subdomain(c.NodeName); len(wrong) > 0 && override != "" {
		return fmt.Errorf("failed to run Kubelet: --hostname-override %q cannot be the name of a node: %s", override,
			wrong[0])
	}
	switch mode := c.Kubelet.Authorization.Mode; mode {
	case kubeletconfigv1beta1.KubeletAuthorizationModeAlwaysAllow, kubeletconfigv1beta1.KubeletAuthorizationModeWebhook:
	case "":
		return errors.New("failed to run Kubelet: no authorization mode specified; set --authorization-mode to " +
			"AlwaysAllow or Webhook")
	default:
		return fmt.Errorf("failed to run Kubelet: unknown authorization mode %s; set authorization.mode "+
			"(--authorization-mode) to AlwaysAllow or Webhook", mode)
	}
	ips, invalid, err := nodeutil.ParseNodeIPArgument(c.NodeIP, f.value("cloud-provider"))
	if err != nil {
		return fmt.Errorf("failed to run Kubelet: bad --node-ip %q: %w", c.NodeIP, err)
	}
	c.NodeIPs = ips
	if len(invalid) > 0 {
		l.warnf("--node-ip %q: could not parse some node IP(s), ignoring them: %v", c.NodeIP, invalid)
	}
	return nil
}

func (l *loader) tls(kc *kubeletConfiguration) error {
	suites, err := cliflag.TLSCipherSuites(kc.TLSCipherSuites)
	if err != nil {
		return fmt.Errorf("%w; tlsCipherSuites (--tls-cipher-suites) must be names of cipher suites in Go's "+
			"package crypto/tls", err)
	}
	for name, id := range cliflag.InsecureTLSCiphers() {
		if slices.Contains(suites, id) {
			l.warnf("tlsCipherSuites (--tls-cipher-suites): use of insecure cipher detected: %s", name)
		}
	}
	least, err := cliflag.TLSVersion(kc.TLSMinVersion)
	if err != nil {
		return fmt.Errorf("%w; tlsMinVersion (--tls-min-version) is one of %s", err,
			strings.Join(cliflag.TLSPossibleVersions(), ", "))
	}
	if least == tls.VersionTLS13 && len(suites) > 0 {
		l.warnf("TLS 1.3 cipher suites are not configurable, ignoring --tls-cipher-suites")
	}
	if _, err := cliflag.TLSCurvePreferences(kc.TLSCurvePreferences); err != nil {
		return fmt.Errorf("%w; tlsCurvePreferences must be numbers of curves, which are the CurveIDs in Go's "+
			"package crypto/tls", err)
	}
	return nil
}
