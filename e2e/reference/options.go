package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"

	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/configz"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"

	_ "k8s.io/component-base/logs/json/register"
)

// settings contains the parsed command line and the resulting kubelet configuration.
type settings struct {
	flags                       *options.KubeletFlags
	config                      kubeletconfig.KubeletConfiguration
	flagz                       flagzReader
	pods, logs, nodeLogs, ready string
}

// The method "own" adds the flags that the program "reference" has in addition to the flags of a kubelet.
func (o *settings) own(fs *pflag.FlagSet) {
	fs.StringVar(&o.pods, "pods", "", "file with a core/v1 PodList")
	fs.StringVar(&o.logs, "logs", "",
		"folder of logs in the format of the CRI: namespace_pod_container.log, and .previous.log beside it")
	fs.StringVar(&o.nodeLogs, "node-logs", "", "folder that /logs/ serves")
	fs.StringVar(&o.ready, "ready-file", "", "file that gets the addresses that are listened on, as JSON")
}

// loadOptions parses the flags before and after it reads the configuration file, so that flags take precedence over
// the file. (kubelet: cmd/kubelet/app/server.go)
func loadOptions(ctx context.Context, args []string) (*settings, error) {
	o := &settings{flags: options.NewKubeletFlags()}
	config, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	o.flags.AddFlags(fs)
	options.AddKubeletConfigFlags(fs, config)
	options.AddGlobalFlags(fs)
	fs.BoolP("help", "h", false, "help for kubelet")
	o.flagz = newFlagz(cliflag.NamedFlagSets{FlagSets: map[string]*pflag.FlagSet{"kubelet": fs}})
	all := pflag.NewFlagSet("reference", pflag.ContinueOnError)
	all.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	all.AddFlagSet(fs)
	o.own(all)
	if err := all.Parse(args); err != nil {
		return nil, err
	}
	if err := options.ValidateKubeletFlags(o.flags); err != nil {
		return nil, err
	}

	if file := o.flags.KubeletConfigFile; file != "" {
		if config, err = loadFile(ctx, file); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		fromFile := maps.Clone(config.FeatureGates)
		again := pflag.NewFlagSet("again", pflag.ContinueOnError)
		again.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
		again.SetOutput(io.Discard)
		options.NewKubeletFlags().AddFlags(again)
		options.AddKubeletConfigFlags(again, config)
		(&settings{}).own(again)
		// The flag set "again" parses the same arguments a second time, so it must know every flag. The flags that are
		// still missing from it write to global variables. The first parsing has already written these, so add the
		// missing flags as flags without effect.
		all.VisitAll(func(f *pflag.Flag) {
			if again.Lookup(f.Name) == nil {
				again.VarP(cliflag.NoOp{}, f.Name, f.Shorthand, f.Usage)
			}
		})
		if err := again.Parse(args); err != nil {
			return nil, err
		}
		for name, on := range fromFile {
			if _, there := config.FeatureGates[name]; !there {
				config.FeatureGates[name] = on
			}
		}
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(config.FeatureGates); err != nil {
		return nil, err
	}
	logs.InitLogs()
	if err := logsapi.ValidateAndApplyAsField(&config.Logging, utilfeature.DefaultFeatureGate, nil); err != nil {
		return nil, err
	}
	if config.Port == 0 {
		// Choose a port here, because the kubelet refuses port 0 and does not report which port it listens on.
		if config.Port, err = freePort(config.Address); err != nil {
			return nil, err
		}
	}
	// This server runs no containers, so it works on a host with cgroup v1. Validate a copy of the configuration in
	// which failCgroupV1 is false, so that validation does not refuse such a host.
	valid := config.DeepCopy()
	allowCgroupV1(valid)
	if err := validation.ValidateKubeletConfiguration(valid, utilfeature.DefaultFeatureGate); err != nil {
		return nil, err
	}
	o.config = *config
	return o, nil
}

func loadFile(ctx context.Context, name string) (*kubeletconfig.KubeletConfiguration, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, path)
	if err != nil {
		return nil, err
	}
	config, err := load(ctx, loader)
	if err != nil {
		return nil, err
	}
	if config.EvictionHard == nil {
		config.EvictionHard = eviction.DefaultEvictionHard
	} else if mergesEvictionDefaults(config) {
		given := config.EvictionHard
		config.EvictionHard = maps.Clone(eviction.DefaultEvictionHard)
		maps.Copy(config.EvictionHard, given)
	}
	return config, nil
}

func freePort(address string) (int32, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return int32(listener.Addr().(*net.TCPAddr).Port), nil
}

// registerConfigz makes the configuration available at /configz. (kubelet: cmd/kubelet/app/server.go, initConfigz)
func registerConfigz(config *kubeletconfig.KubeletConfiguration) error {
	scheme, _, err := kubeletscheme.NewSchemeAndCodecs()
	if err != nil {
		return err
	}
	versioned := &kubeletconfigv1beta1.KubeletConfiguration{}
	if err := scheme.Convert(config, versioned, nil); err != nil {
		return err
	}
	versioned.SetGroupVersionKind(kubeletconfigv1beta1.SchemeGroupVersion.WithKind("KubeletConfiguration"))
	entry, err := configz.New("kubeletconfig")
	if err != nil {
		return err
	}
	return setConfigz(entry, versioned)
}
