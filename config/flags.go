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

// Flags are the kubelet's flags, parsed as a kubelet parses them. A kubelet applies its command line two times: first
// to find the configuration file, and then to override the values from the file. So Flags records every accepted value,
// to apply it again later. Flags is not safe for concurrent use.
type Flags struct {
	// Strict makes Load refuse a configuration file or drop-in with an unknown or duplicate field. Without Strict, Load
	// ignores the field and adds a warning, like a kubelet v1.37.
	Strict bool

	// Version is the version of Kubernetes whose kubelet the stand-in emulates. The zero value is the newest version.
	// It decides which feature gates exist, and their defaults.
	Version Version

	flags     *pflag.FlagSet
	labels    cliflag.ConfigurationMap // --node-labels
	given     []assignment
	overrides [][]byte // JSON merge patches; see Override
}

// nodeSettings lists the flags that have an effect on a stand-in but have no field in KubeletConfiguration.
var nodeSettings = []string{"config", "config-dir", "kubeconfig", "bootstrap-kubeconfig", "hostname-override",
	"node-ip", "cert-dir", "root-dir", "cloud-provider", "node-labels"}

// meaningful lists the flags that have an effect on a stand-in and have a field in KubeletConfiguration.
var meaningful = []string{"address", "port", "read-only-port", "enable-server", "enable-debugging-handlers",
	"anonymous-auth", "authentication-token-webhook", "authentication-token-webhook-cache-ttl", "client-ca-file",
	"authorization-mode", "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl",
	"tls-cert-file", "tls-private-key-file", "tls-cipher-suites", "tls-min-version", "rotate-server-certificates",
	"feature-gates", "kube-api-qps", "kube-api-burst", "kube-api-content-type", "healthz-bind-address", "healthz-port",
	"streaming-connection-idle-timeout", "register-node", "register-with-taints", "provider-id", "max-pods",
	"pods-per-core", "pod-cidr", "kube-reserved", "system-reserved", "node-status-update-frequency",
	"pod-manifest-path", "file-check-frequency", "rotate-certificates", "cgroup-driver", "cgroup-root",
	"enable-controller-attach-detach", "v"}

// assignment is a flag with an accepted value.
type assignment struct {
	flag  flagFact
	value string
}

// NewFlags returns the kubelet's flags with the defaults of a kubelet v1.37. They include the flags that only older
// kubelets have, which are hidden; Load refuses a flag that the emulated version does not have.
func NewFlags() *Flags {
	f := &Flags{flags: pflag.NewFlagSet("kubelet", pflag.ContinueOnError)}
	f.flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	f.flags.SetOutput(io.Discard) // discards the warnings about deprecated flags
	shown := reflect.ValueOf(legacyConfiguration(Version{}, nil)).Elem()
	for _, fact := range slices.Concat(facts().Flags, removedFlags()) {
		var target reflect.Value
		if fact.Field != "" {
			target = fieldAt(shown, fact.Field)
		} else if fact.Name == "node-labels" {
			target = reflect.ValueOf(&f.labels).Elem()
		}
		value := &recorder{newValue(fact, target), fact, f}
		flag := f.flags.VarPF(value, fact.Name, fact.Shorthand, fact.Usage)
		flag.NoOptDefVal, flag.Deprecated = fact.NoOptDefVal, fact.Deprecated
		flag.Hidden = Version{}.lacksFlag(fact.Name) != ""
	}
	return f
}

// recorder is the pflag.Value of one flag. It records each value that the flag accepts.
type recorder struct {
	pflag.Value
	fact  flagFact
	flags *Flags
}

func (r *recorder) Set(value string) error {
	if err := r.Value.Set(value); err != nil {
		return err
	}
	r.flags.given = append(r.flags.given, assignment{r.fact, value})
	return nil
}

// AddTo adds the flags to fs, except flags that fs already has. It also makes fs accept underscores in place of dashes
// in flag names, as the kubelet does.
func (f *Flags) AddTo(fs *pflag.FlagSet) {
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	fs.AddFlagSet(f.flags)
}

// Set sets a flag, as if it were the next argument on the command line. The name has no leading dashes. For an unknown
// flag or an invalid value, Set returns the kubelet's error.
func (f *Flags) Set(name, value string) error {
	if f.flags.Lookup(name) == nil {
		return FlagError(fmt.Errorf("unknown flag: --%s", name))
	}
	if err := f.flags.Set(name, value); err != nil {
		return FlagError(err)
	}
	return nil
}

// FlagError adds the kubelet's prefix "failed to parse kubelet flag" to an error from parsing the command line.
func FlagError(err error) error { return fmt.Errorf("failed to parse kubelet flag: %w", err) }

// replay applies the recorded flags to a configuration, in the order in which they were given.
func (f *Flags) replay(kc *kubeletConfiguration) error {
	values := map[string]pflag.Value{}
	for _, g := range f.given {
		name := g.flag.Name
		if g.flag.Field == "" {
			continue
		}
		if values[name] == nil {
			values[name] = newValue(g.flag, fieldAt(reflect.ValueOf(kc).Elem(), g.flag.Field))
		}
		if err := values[name].Set(g.value); err != nil {
			return fmt.Errorf("invalid argument %q for %q flag: %w", g.value, "--"+name, err)
		}
	}
	return nil
}

// Means reports whether a kubelet flag has an effect on a stand-in. A flag without an effect is still parsed. Its value
// appears in /configz if KubeletConfiguration has a field for it. If the flag is on the command line, Config.Ignored
// lists it.
func (f *Flags) Means(name string) bool {
	return slices.Contains(nodeSettings, name) || slices.Contains(meaningful, name)
}

// The method "ignored" returns the names of the flags on the command line that have no effect on a stand-in.
func (f *Flags) ignored() []string {
	var out []string
	for _, g := range f.given {
		if !f.Means(g.flag.Name) {
			out = append(out, g.flag.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lacksFlag returns why the kubelet of version v does not have a flag, or "" if it has the flag.
func (v Version) lacksFlag(name string) string {
	for _, flag := range history().Flags {
		switch {
		case flag.Name != name:
		case v.before(flag.Since):
			return "kubelets have it since " + flag.Since
		case flag.Until != "" && !v.before(flag.Until):
			return "kubelets do not have it since " + flag.Until
		}
	}
	return ""
}

// removedFlags returns the flags that only older versions have.
func removedFlags() (removed []flagFact) {
	for _, flag := range history().Flags {
		if flag.Until != "" {
			removed = append(removed, flag.flagFact)
		}
	}
	return removed
}

// flagz returns the flags and values that /flagz shows.
func (f *Flags) flagz() map[string]string {
	values := map[string]string{"help": "false"}
	defaults := reflect.ValueOf(legacyConfiguration(f.Version, nil)).Elem()
	for _, fact := range slices.Concat(facts().Flags, removedFlags()) {
		switch {
		case f.Version.lacksFlag(fact.Name) != "":
		case fact.Field != "" && !f.wasGiven(fact.Name):
			values[fact.Name] = newValue(fact, fieldAt(defaults, fact.Field)).String()
		default:
			values[fact.Name] = f.value(fact.Name)
		}
	}
	return values
}

func (f *Flags) value(name string) string { return f.flags.Lookup(name).Value.String() }

func (f *Flags) wasGiven(name string) bool {
	return slices.ContainsFunc(f.given, func(g assignment) bool { return g.flag.Name == name })
}
