package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	_ "k8s.io/component-base/logs/json/register" // registers the log format json, as the kubelet does
)

// Flags are the kubelet's flags, parsed as a kubelet parses them. Flags records every accepted value, because a
// kubelet applies its command line twice: first to find the configuration file, and again to override the file.
// Flags is not safe for concurrent use.
type Flags struct {
	// Strict makes Load refuse a configuration file or drop-in with an unknown or duplicate field. Without Strict, Load
	// ignores the field and adds a warning, like a kubelet v1.37.
	Strict bool

	node      nodeFlags
	flags     *pflag.FlagSet
	facts     map[string]flagFact
	given     []assignment
	overrides []override
	err       error // invalid embedded data; Load returns it
}

// nodeFlags are the flags that fauxlet uses and that have no field in KubeletConfiguration.
type nodeFlags struct {
	config, configDir               string
	kubeconfig, bootstrapKubeconfig string
	hostnameOverride, nodeIP        string
	certDir, rootDir, cloudProvider string
	nodeLabels                      cliflag.ConfigurationMap
}

func (n *nodeFlags) targets() map[string]any {
	return map[string]any{
		"config": &n.config, "config-dir": &n.configDir,
		"kubeconfig": &n.kubeconfig, "bootstrap-kubeconfig": &n.bootstrapKubeconfig,
		"hostname-override": &n.hostnameOverride, "node-ip": &n.nodeIP,
		"cert-dir": &n.certDir, "root-dir": &n.rootDir, "cloud-provider": &n.cloudProvider,
		"node-labels": &n.nodeLabels,
	}
}

// meaningful lists the flags with a field in KubeletConfiguration that fauxlet uses. Every other flag is parsed,
// appears in /configz and is listed in Config.Ignored.
var meaningful = []string{
	"address", "port", "read-only-port", "enable-server", "enable-debugging-handlers",
	"anonymous-auth", "authentication-token-webhook", "authentication-token-webhook-cache-ttl", "client-ca-file",
	"authorization-mode", "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl",
	"tls-cert-file", "tls-private-key-file", "tls-cipher-suites", "tls-min-version",
	"rotate-server-certificates", "feature-gates",
	"kube-api-qps", "kube-api-burst", "kube-api-content-type",
	"healthz-bind-address", "healthz-port", "streaming-connection-idle-timeout",
	"register-node", "register-with-taints", "provider-id", "max-pods", "pods-per-core", "pod-cidr",
	"kube-reserved", "system-reserved",
	"node-status-update-frequency", "pod-manifest-path", "file-check-frequency", "rotate-certificates",
	"v",
}

type assignment struct{ name, value string }

// NewFlags returns the kubelet's flags with the kubelet's defaults.
func NewFlags() *Flags {
	f := &Flags{facts: map[string]flagFact{}, flags: pflag.NewFlagSet("kubelet", pflag.ContinueOnError)}
	f.flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	f.flags.SetOutput(io.Discard) // pflag prints a warning when Set is called for a deprecated flag
	f.err = f.define()
	return f
}

func (f *Flags) define() error {
	known, err := facts()
	if err != nil {
		return err
	}
	shown, err := legacyConfiguration(known)
	if err != nil {
		return err
	}
	node := f.node.targets()
	for _, fact := range known.Flags {
		var target reflect.Value
		if fact.Field != "" {
			var ok bool
			if target, ok = fieldAt(reflect.ValueOf(shown).Elem(), fact.Field); !ok {
				return fmt.Errorf("embedded kubelet.json: flag --%s names the unknown field %s", fact.Name, fact.Field)
			}
		} else if p, ok := node[fact.Name]; ok {
			target = reflect.ValueOf(p).Elem()
			if target.Kind() == reflect.String {
				target.SetString(fact.Default)
			}
		}
		value, err := valueFor(fact, target)
		if err != nil {
			return err
		}
		f.facts[fact.Name] = fact
		flag := f.flags.VarPF(&recorder{Value: value, name: fact.Name, flags: f}, fact.Name, fact.Shorthand, fact.Usage)
		flag.NoOptDefVal = fact.NoOptDefVal
		flag.Deprecated = fact.Deprecated
	}
	return nil
}

// recorder records the values that a flag accepted.
type recorder struct {
	pflag.Value
	name  string
	flags *Flags
}

func (r *recorder) Set(value string) error {
	if err := r.Value.Set(value); err != nil {
		return err
	}
	r.flags.given = append(r.flags.given, assignment{r.name, value})
	return nil
}

// AddTo adds the flags to fs, except flags that fs already has. It makes fs accept underscores for dashes in flag
// names, as the kubelet does.
func (f *Flags) AddTo(fs *pflag.FlagSet) {
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	fs.AddFlagSet(f.flags)
}

// Set sets a flag, as if it were the next argument on the command line.
func (f *Flags) Set(name, value string) error {
	if f.err != nil {
		return f.err
	}
	if f.flags.Lookup(name) == nil {
		return FlagError(fmt.Errorf("unknown flag: --%s", name))
	}
	if err := f.flags.Set(name, value); err != nil {
		return FlagError(err)
	}
	return nil
}

// FlagError adds the kubelet's prefix to an error from parsing the command line.
func FlagError(err error) error {
	return fmt.Errorf("failed to parse kubelet flag: %w", err)
}

// replay applies the values of the command line to kc.
func (f *Flags) replay(kc *kubeletConfiguration) error {
	values := map[string]pflag.Value{}
	for _, g := range f.given {
		fact := f.facts[g.name]
		if fact.Field == "" {
			continue
		}
		value, ok := values[g.name]
		if !ok {
			target, ok := fieldAt(reflect.ValueOf(kc).Elem(), fact.Field)
			if !ok {
				return fmt.Errorf("embedded kubelet.json: flag --%s names the unknown field %s", g.name, fact.Field)
			}
			var err error
			if value, err = valueFor(fact, target); err != nil {
				return err
			}
			values[g.name] = value
		}
		if err := value.Set(g.value); err != nil {
			return fmt.Errorf("invalid argument %q for %q flag: %w", g.value, "--"+g.name, err)
		}
	}
	return nil
}

// Means reports whether a kubelet flag has an effect on a stand-in. All other flags are parsed, appear in /configz,
// and are listed in Config.Ignored.
func (f *Flags) Means(name string) bool {
	_, ok := f.node.targets()[name]
	return ok || slices.Contains(meaningful, name)
}

// ignored lists the given flags that have no effect on a stand-in.
func (f *Flags) ignored() []string {
	var out []string
	for _, g := range f.given {
		if !f.Means(g.name) {
			out = append(out, g.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (f *Flags) wasGiven(name string) bool {
	return slices.ContainsFunc(f.given, func(g assignment) bool { return g.name == name })
}
