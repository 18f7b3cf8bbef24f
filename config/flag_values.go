package config

import (
	"flag"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	netutils "k8s.io/utils/net"
)

// newValue returns a pflag.Value that parses the text of a flag as the kubelet does, and stores the result in the
// argument target. This is a settable field of a KubeletConfiguration, or the zero reflect.Value. If it is the zero
// reflect.Value, the result is stored in a new variable.
func newValue(f flagFact, target reflect.Value) pflag.Value { return valueTypes[f.Value](f, target) }

// valueTypes maps the name of each type of kubelet flags to a function that makes a pflag.Value of this type. The
// functions have the same arguments as newValue.
var valueTypes = map[string]func(flagFact, reflect.Value) pflag.Value{
	"pflag.boolValue":        builtin((*pflag.FlagSet).BoolVar),
	"pflag.stringValue":      builtin((*pflag.FlagSet).StringVar),
	"pflag.int32Value":       builtin((*pflag.FlagSet).Int32Var),
	"pflag.int64Value":       builtin((*pflag.FlagSet).Int64Var),
	"pflag.durationValue":    builtin((*pflag.FlagSet).DurationVar),
	"pflag.stringSliceValue": builtin((*pflag.FlagSet).StringSliceVar),
	"pflag.flagValueWrapper": goValue,

	"flag.MapStringBool":                      over(cliflag.NewMapStringBool),
	"flag.MapStringString":                    over(cliflag.NewMapStringString),
	"flag.MapStringStringNoSplit":             over(cliflag.NewMapStringStringNoSplit),
	"flag.LangleSeparatedMapStringString":     over(cliflag.NewLangleSeparatedMapStringString),
	"flag.ColonSeparatedMultimapStringString": over(cliflag.NewColonSeparatedMultimapStringString),
	"flag.ConfigurationMap":                   over(configurationMapValue),
	"v1.verbosityLevelPflag":                  over(logsapi.VerbosityLevelPflag),
	"v1.vmoduleConfigurationPFlag":            over(logsapi.VModuleConfigurationPflag),
	"resource.QuantityValue":                  over(func(q *resource.QuantityValue) pflag.Value { return q }),

	"flag.IPVar":                 over(ipValue),
	"flag.RegisterWithTaintsVar": over(taintsValue),
	"flag.ReservedMemoryVar":     over(reservedMemoryValue),
	"verflag.versionValue":       over(versionValue),
}

// The function "over" returns an entry for valueTypes. Its argument "make" is a function that gets a pointer to a
// variable. It returns a pflag.Value that stores the parsed flag in this variable. The variable is the target or, if
// there is no target, a new variable with the flag's default.
func over[T any, V pflag.Value](make func(*T) V) func(flagFact, reflect.Value) pflag.Value {
	return func(f flagFact, target reflect.Value) pflag.Value {
		if target.IsValid() {
			return make(pointerTo[T](target))
		}
		value := make(new(T))
		if f.Default != "" {
			must(value.Set(f.Default))
		}
		return value
	}
}

// builtin returns an entry for valueTypes, for a type that pflag does not export. It lets a pflag.FlagSet create the
// pflag.Value, because there is no other way to create one of such a type.
func builtin[T any](add func(*pflag.FlagSet, *T, string, T, string)) func(flagFact, reflect.Value) pflag.Value {
	return over(func(p *T) pflag.Value {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		add(fs, p, "flag", *p, "")
		return fs.Lookup("flag").Value
	})
}

func pointerTo[T any](target reflect.Value) *T {
	if target.Kind() == reflect.Pointer {
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		target = target.Elem()
	}
	want := reflect.TypeFor[*T]()
	// The type of a duration field is a struct, such as metav1.Duration, that contains the time.Duration.
	for want == reflect.TypeFor[*time.Duration]() && target.Kind() == reflect.Struct {
		target = target.FieldByName("Duration")
	}
	return target.Addr().Convert(want).Interface().(*T)
}

// fieldAt returns the field of a struct at a path of JSON names. The result is the zero reflect.Value if there is no
// such field, or if a pointer on the path is nil.
func fieldAt(in reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		in = fieldNamed(reflect.Indirect(in), name)
	}
	return in
}

func fieldNamed(in reflect.Value, name string) reflect.Value {
	if in.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range in.NumField() {
		field := in.Type().Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == name {
			return in.Field(i)
		}
		if field.Anonymous && tag == "" {
			if found := fieldNamed(in.Field(i), name); found.IsValid() {
				return found
			}
		}
	}
	return reflect.Value{}
}

// customValue is a pflag.Value whose methods call the functions in its fields.
type customValue struct {
	kind string
	set  func(string) error
	show func() string
}

func (v customValue) Type() string       { return v.kind }
func (v customValue) Set(s string) error { return v.set(s) }
func (v customValue) String() string     { return v.show() }

// goValue parses a value with package flag instead of package pflag, because their error texts differ, and the kubelet
// uses package flag for some of its flags.
func goValue(f flagFact, target reflect.Value) pflag.Value {
	switch f.Type {
	case "bool":
		return over(fromGo((*flag.FlagSet).BoolVar))(f, target)
	case "int":
		return over(fromGo((*flag.FlagSet).IntVar))(f, target)
	case "string":
		return over(fromGo((*flag.FlagSet).StringVar))(f, target)
	}
	return over(fromGo((*flag.FlagSet).DurationVar))(f, target)
}

func fromGo[T any](add func(*flag.FlagSet, *T, string, T, string)) func(*T) pflag.Value {
	return func(p *T) pflag.Value {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		add(fs, p, "flag", *p, "")
		return pflag.PFlagFromGoFlag(fs.Lookup("flag")).Value
	}
}

func configurationMapValue(m *cliflag.ConfigurationMap) pflag.Value {
	if *m == nil {
		*m = cliflag.ConfigurationMap{}
	}
	return m
}

// ipValue accepts an IP address. An empty text leaves the value unchanged. (k8s.io/kubernetes: pkg/util/flag IPVar)
func ipValue(ip *string) pflag.Value {
	set := func(s string) error {
		if s != "" && netutils.ParseIPSloppy(s) == nil {
			return fmt.Errorf("%q is not a valid IP address", s)
		}
		if s != "" {
			*ip = s
		}
		return nil
	}
	return customValue{"ip", set, func() string { return *ip }}
}

// versionValue accepts the values of the kubelet's --version: a boolean, the word "raw", or a version to report.
func versionValue(v *string) pflag.Value {
	set := func(s string) error {
		if strings.HasPrefix(s, "v") {
			if _, err := version.ParseSemantic(s); err != nil {
				return err
			}
		} else if s != "raw" {
			b, err := strconv.ParseBool(s)
			if err != nil {
				return err
			}
			s = strconv.FormatBool(b)
		}
		*v = s
		return nil
	}
	return customValue{"version", set, func() string { return *v }}
}
