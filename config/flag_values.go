package config

import (
	"flag"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	netutils "k8s.io/utils/net"
)

// valueFor returns a flag.Value that parses like the kubelet's and sets target. target is a settable field of a
// KubeletConfiguration, or the zero reflect.Value for a new variable.
func valueFor(f flagFact, target reflect.Value) (pflag.Value, error) {
	switch f.Value {
	case "pflag.boolValue":
		return builtin(f, target, (*pflag.FlagSet).BoolVar)
	case "pflag.stringValue":
		return builtin(f, target, (*pflag.FlagSet).StringVar)
	case "pflag.int32Value":
		return builtin(f, target, (*pflag.FlagSet).Int32Var)
	case "pflag.int64Value":
		return builtin(f, target, (*pflag.FlagSet).Int64Var)
	case "pflag.durationValue":
		return builtin(f, target, (*pflag.FlagSet).DurationVar)
	case "pflag.flagValueWrapper": // wraps package flag, whose error texts for durations differ
		return over(f, target, func(p *time.Duration) pflag.Value {
			fs := flag.NewFlagSet(f.Name, flag.ContinueOnError)
			fs.DurationVar(p, f.Name, *p, "")
			return pflag.PFlagFromGoFlag(fs.Lookup(f.Name)).Value
		})
	case "pflag.stringSliceValue":
		return builtin(f, target, (*pflag.FlagSet).StringSliceVar)
	case "flag.MapStringBool":
		return over(f, target, func(p *map[string]bool) pflag.Value { return cliflag.NewMapStringBool(p) })
	case "flag.MapStringString":
		return over(f, target, func(p *map[string]string) pflag.Value { return cliflag.NewMapStringString(p) })
	case "flag.MapStringStringNoSplit":
		return over(f, target, func(p *map[string]string) pflag.Value { return cliflag.NewMapStringStringNoSplit(p) })
	case "flag.LangleSeparatedMapStringString":
		return over(
			f,
			target,
			func(p *map[string]string) pflag.Value { return cliflag.NewLangleSeparatedMapStringString(p) },
		)
	case "flag.ColonSeparatedMultimapStringString":
		return over(
			f,
			target,
			func(p *map[string][]string) pflag.Value { return cliflag.NewColonSeparatedMultimapStringString(p) },
		)
	case "flag.ConfigurationMap":
		return over(f, target, func(p *cliflag.ConfigurationMap) pflag.Value {
			if *p == nil {
				*p = cliflag.ConfigurationMap{}
			}
			return p
		})
	case "flag.IPVar":
		return over(f, target, func(p *string) pflag.Value { return &ipValue{p} })
	case "flag.RegisterWithTaintsVar":
		return over(f, target, func(p *[]v1.Taint) pflag.Value { return &taintsValue{p} })
	case "flag.ReservedMemoryVar":
		return over(
			f,
			target,
			func(p *[]kubeletconfigv1beta1.MemoryReservation) pflag.Value { return &reservedMemoryValue{into: p} },
		)
	case "resource.QuantityValue":
		return over(f, target, func(p *resource.QuantityValue) pflag.Value { return p })
	case "v1.verbosityLevelPflag":
		return over(f, target, logsapi.VerbosityLevelPflag)
	case "v1.vmoduleConfigurationPFlag":
		return over(f, target, logsapi.VModuleConfigurationPflag)
	case "verflag.versionValue":
		return over(f, target, func(p *string) pflag.Value { return &versionValue{p} })
	}
	return nil, fmt.Errorf("embedded kubelet.json: flag --%s has the unknown type %s", f.Name, f.Value)
}

// over calls make with a *T that points to target.
func over[T any](f flagFact, target reflect.Value, make func(*T) pflag.Value) (pflag.Value, error) {
	p, err := pointerTo[T](f, target)
	if err != nil {
		return nil, err
	}
	value := make(p)
	if !target.IsValid() && f.Default != "" {
		if err := value.Set(f.Default); err != nil {
			return nil, fmt.Errorf("embedded kubelet.json: default of flag --%s: %w", f.Name, err)
		}
	}
	return value, nil
}

// builtin returns a value of one of pflag's unexported types. Only a flag set can create such a value.
func builtin[T any](
	f flagFact,
	target reflect.Value,
	add func(*pflag.FlagSet, *T, string, T, string),
) (pflag.Value, error) {
	return over(f, target, func(p *T) pflag.Value {
		fs := pflag.NewFlagSet(f.Name, pflag.ContinueOnError)
		add(fs, p, f.Name, *p, "")
		return fs.Lookup(f.Name).Value
	})
}

func pointerTo[T any](f flagFact, target reflect.Value) (*T, error) {
	if !target.IsValid() {
		return new(T), nil
	}
	if target.Kind() == reflect.Pointer {
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		target = target.Elem()
	}
	want := reflect.TypeFor[*T]()
	// A duration field has the type metav1.Duration, or another type in the logging configuration.
	for want == reflect.TypeFor[*time.Duration]() && target.Kind() == reflect.Struct {
		target = target.FieldByName("Duration")
	}
	if !target.IsValid() || !target.Addr().CanConvert(want) {
		return nil, fmt.Errorf("embedded kubelet.json: flag --%s cannot set %s", f.Name, f.Field)
	}
	return target.Addr().Convert(want).Interface().(*T), nil
}

// fieldAt returns a field of a struct by a path of JSON names.
func fieldAt(in reflect.Value, path string) (reflect.Value, bool) {
	for name := range strings.SplitSeq(path, ".") {
		if in.Kind() == reflect.Pointer {
			if in.IsNil() {
				return reflect.Value{}, false
			}
			in = in.Elem()
		}
		var ok bool
		if in, ok = fieldNamed(in, name); !ok {
			return reflect.Value{}, false
		}
	}
	return in, true
}

func fieldNamed(in reflect.Value, name string) (reflect.Value, bool) {
	if in.Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	for i := range in.NumField() {
		field := in.Type().Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && tag == "" {
			if found, ok := fieldNamed(in.Field(i), name); ok {
				return found, true
			}
		}
		if tag == name {
			return in.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// ipValue accepts an IP address (k8s.io/kubernetes: pkg/util/flag IPVar). An empty value changes nothing.
type ipValue struct{ into *string }

func (v *ipValue) Set(s string) error {
	if s == "" {
		return nil
	}
	if netutils.ParseIPSloppy(s) == nil {
		return fmt.Errorf("%q is not a valid IP address", s)
	}
	*v.into = s
	return nil
}

func (v *ipValue) String() string { return *v.into }
func (v *ipValue) Type() string   { return "ip" }

// versionValue accepts the values of the kubelet's --version: a boolean, raw, or a version to report.
type versionValue struct{ into *string }

func (v *versionValue) Set(s string) error {
	switch {
	case s == "raw":
	case strings.HasPrefix(s, "v"):
		if _, err := version.ParseSemantic(s); err != nil {
			return err
		}
	default:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return err
		}
		s = strconv.FormatBool(b)
	}
	*v.into = s
	return nil
}

func (v *versionValue) String() string   { return *v.into }
func (v *versionValue) Type() string     { return "version" }
func (v *versionValue) IsBoolFlag() bool { return true }
