package config

import (
	"fmt"
	"slices"
	"strings"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/component-base/featuregate"
	kubeletapis "k8s.io/kubelet/pkg/apis"
	"k8s.io/utils/ptr"
)

// checker collects the errors in a configuration.
type checker struct {
	kc      *kubeletConfiguration
	gates   featuregate.FeatureGate
	version Version
	errs    []error
}

// refuse adds an error with the kubelet's text if wrong is true.
func (c *checker) refuse(wrong bool, format string, args ...any) {
	if wrong {
		c.errs = append(c.errs, fmt.Errorf("invalid configuration: "+format, args...))
	}
}

// oneOf adds an error if a value is not allowed. The argument "text" is a format string for the error. It has one
// formatting verb for the value, followed by one for each allowed value.
func (c *checker) oneOf(text, value string, allowed ...any) {
	c.refuse(!slices.Contains(allowed, any(value)), text, append([]any{value}, allowed...)...)
}

func (c *checker) enabled(gate string) bool { return enabled(c.gates, c.version, gate) }

// value returns the value to which a pointer field points. Defaulting sets the fields for which value is called, so the
// pointer should not be nil. If it is nil, value returns the zero value.
func value[T any](p *T) T { return ptr.Deref(p, *new(T)) }

// validate returns all errors that a kubelet's validation of its configuration returns. If freePort is true, validate
// accepts port 0, which a kubelet refuses. (k8s.io/kubernetes: pkg/kubelet/apis/config/validation)
func validate(kc *kubeletConfiguration, gates featuregate.MutableVersionedFeatureGate, v Version,
	freePort bool) error {
	c := &checker{kc: kc, gates: gates, version: v}
	c.errs = append(c.errs, gates.Validate()...)
	c.server(freePort)
	c.node()
	c.resources()
	c.shutdown()
	c.images()
	c.containers()
	return utilerrors.NewAggregate(c.errs)
}

// This method checks the settings of the kubelet's HTTP server.
func (c *checker) server(freePort bool) {
	port := func(n int32) bool { return validation.IsValidPortNum(int(n)) == nil }
	healthz := value(c.kc.HealthzPort)
	c.refuse(healthz != 0 && !port(healthz), "healthzPort (--healthz-port) %v must be between 1 and 65535, inclusive",
		healthz)
	c.refuse(!port(c.kc.Port) && !freePort, "port (--port) %v must be between 1 and 65535, inclusive", c.kc.Port)
	c.refuse(c.kc.ReadOnlyPort != 0 && !port(c.kc.ReadOnlyPort),
		"readOnlyPort (--read-only-port) %v must be between 0 and 65535, inclusive", c.kc.ReadOnlyPort)
	c.refuse(c.kc.ServerTLSBootstrap && !c.enabled("RotateKubeletServerCertificate"),
		"serverTLSBootstrap %v requires feature gate RotateKubeletServerCertificate", c.kc.ServerTLSBootstrap)
	query := value(c.kc.EnableSystemLogQuery)
	named := "enableSystemLogQuery"
	if !c.version.Has(NamesLogQuery) {
		named = "enableSystemLogHandler"
	}
	c.refuse(query && !c.enabled("NodeLogQuery"), "NodeLogQuery feature gate is required for %s", named)
	c.refuse(query && !value(c.kc.EnableSystemLogHandler), "enableSystemLogHandler is required for "+
		"enableSystemLogQuery")
	c.refuse(c.kc.RunOnce && c.version.Has(NoRunOnce), "runOnce (--runOnce) %v, Runonce mode has been "+
		"deprecated and should not be set",
		c.kc.RunOnce)
}

// validateLabels checks --node-labels.
// (k8s.io/kubernetes: ValidateKubeletFlags in cmd/kubelet/app/options)
func validateLabels(labels map[string]string) error {
	var unknown, invalid []string
	for key, value := range labels {
		if kubernetesNamespace(key) && !kubeletapis.IsKubeletLabel(key) {
			unknown = append(unknown, key)
		}
		if why := validation.IsQualifiedName(key); len(why) > 0 {
			invalid = append(invalid, fmt.Sprintf("'%s' - %s", key, strings.Join(why, ", ")))
		}
		if why := validation.IsValidLabelValue(value); len(why) > 0 {
			invalid = append(invalid, fmt.Sprintf("'%s' - %s", value, strings.Join(why, ", ")))
		}
	}
	slices.Sort(unknown)
	slices.Sort(invalid)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: "+
			"%v\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix (%s) or be in the "+
			"specifically allowed set (%s)", unknown, strings.Join(kubeletapis.KubeletLabelNamespaces(), ", "),
			strings.Join(kubeletapis.KubeletLabels(), ", "))
	}
	if len(invalid) > 0 {
		return fmt.Errorf("invalid node labels: %s", strings.Join(invalid, "; "))
	}
	return nil
}

// kubernetesNamespace reports whether a label's prefix is reserved for Kubernetes.
func kubernetesNamespace(key string) bool {
	prefix, _, ok := strings.Cut(key, "/")
	return ok && slices.ContainsFunc([]string{"kubernetes.io", "k8s.io"}, func(domain string) bool {
		return prefix == domain || strings.HasSuffix(prefix, "."+domain)
	})
}
