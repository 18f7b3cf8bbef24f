package config

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-base/metrics"
	tracingapi "k8s.io/component-base/tracing/api/v1"
	"k8s.io/component-helpers/node/util/sysctl"
	"k8s.io/utils/cpuset"
)

// The fields that this file checks have no effect on a stand-in. They are checked because a stand-in must refuse every
// configuration file that a kubelet refuses.

// This method checks the settings of the Node object and of the clients that the kubelet uses.
func (c *checker) node() {
	c.refuse(c.kc.NodeLeaseDurationSeconds <= 0, "nodeLeaseDurationSeconds must be greater than 0")
	c.refuse(value(c.kc.NodeStatusMaxImages) < -1,
		"nodeStatusMaxImages (--node-status-max-images) %v must be -1 or greater", value(c.kc.NodeStatusMaxImages))
	for _, n := range []struct {
		name string
		is   int64
	}{
		{"eventBurst (--event-burst)", int64(c.kc.EventBurst)},
		{"eventRecordQPS (--event-qps)", int64(value(c.kc.EventRecordQPS))},
		{"kubeAPIBurst (--kube-api-burst)", int64(c.kc.KubeAPIBurst)},
		{"kubeAPIQPS (--kube-api-qps)", int64(value(c.kc.KubeAPIQPS))},
		{"maxOpenFiles (--max-open-files)", c.kc.MaxOpenFiles},
		{"maxPods (--max-pods)", int64(c.kc.MaxPods)},
		{"podsPerCore (--pods-per-core)", int64(c.kc.PodsPerCore)},
		{"registryBurst (--registry-burst)", int64(c.kc.RegistryBurst)},
		{"registryPullQPS (--registry-qps)", int64(value(c.kc.RegistryPullQPS))},
	} {
		c.refuse(n.is < 0, "%s %v must not be a negative number", n.name, n.is)
	}
	for _, r := range []struct {
		name      string
		is        int32
		low, high int
	}{
		{"imageGCHighThresholdPercent (--image-gc-high-threshold)", value(c.kc.ImageGCHighThresholdPercent), 0, 100},
		{"imageGCLowThresholdPercent (--image-gc-low-threshold)", value(c.kc.ImageGCLowThresholdPercent), 0, 100},
		{"iptablesDropBit (--iptables-drop-bit)", value(c.kc.IPTablesDropBit), 0, 31},
		{"iptablesMasqueradeBit (--iptables-masquerade-bit)", value(c.kc.IPTablesMasqueradeBit), 0, 31},
		{"oomScoreAdj (--oom-score-adj)", value(c.kc.OOMScoreAdj), -1000, 1000},
	} {
		c.refuse(validation.IsInRange(int(r.is), r.low, r.high) != nil, "%s %v must be between %d and %d, inclusive",
			r.name, r.is, r.low, r.high)
	}
	for _, taint := range c.kc.RegisterWithTaints {
		if !validTaint(taint) {
			c.errs = append(c.errs, fmt.Errorf("invalid taint: %v", taint))
		}
		c.refuse(taint.TimeAdded != nil, "taint.TimeAdded is not nil")
	}
	c.errs = append(c.errs, metrics.ValidateShowHiddenMetricsVersion(c.kc.ShowHiddenMetricsForVersion)...)
	// The gate is locked since 1.34.
	c.refuse(c.kc.Tracing != nil && c.version.gate("KubeletTracing") != nil && !c.enabled("KubeletTracing"),
		"tracing should not be configured if KubeletTracing feature flag is disabled.")
	for _, err := range tracingapi.ValidateTracingConfiguration(c.kc.Tracing, c.gates, field.NewPath("tracing")) {
		c.errs = append(c.errs, err)
	}
}

func validTaint(t v1.Taint) bool {
	return len(validation.IsQualifiedName(t.Key)) == 0 &&
		(t.Value == "" || len(validation.IsValidLabelValue(t.Value)) == 0) &&
		(t.Effect == "" || checkEffect(t.Effect) == nil)
}

// This method checks the settings of CPU, memory, cgroups and the resource managers.
func (c *checker) resources() {
	kc := c.kc
	c.refuse(kc.SystemCgroups != "" && kc.CgroupRoot == "",
		"systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified")
	quota, custom := value(kc.CPUCFSQuotaPeriod), c.enabled("CustomCPUCFSQuotaPeriod")
	c.refuse(custom && (quota.Duration < time.Millisecond || quota.Duration > time.Second),
		"cpuCFSQuotaPeriod (--cpu-cfs-quota-period) %v must be between 1ms and 1sec, inclusive", quota)
	c.refuse(!custom && quota.Duration != 100*time.Millisecond,
		"cpuCFSQuotaPeriod (--cpu-cfs-quota-period) %v requires feature gate CustomCPUCFSQuotaPeriod", quota)
	policies := []string{"none", "best-effort", "restricted", "single-numa-node"}
	c.refuse(!slices.Contains(policies, kc.TopologyManagerPolicy),
		"topologyManagerPolicy (--topology-manager-policy) %q must be one of: %q", kc.TopologyManagerPolicy, policies)
	c.oneOf("topologyManagerScope (--topology-manager-scope) %q must be one of: %q, or %q", kc.TopologyManagerScope,
		"container", "pod")
	c.oneOf("option %q specified for hairpinMode (--hairpin-mode). Valid options are %q, %q or %q", kc.HairpinMode,
		"none", "hairpin-veth", "promiscuous-bridge")
	if c.enabled("NodeSwap") {
		c.oneOf("memorySwap.swapBehavior %q must be one of: %q, %q or %q", kc.MemorySwap.SwapBehavior,
			"", "LimitedSwap", "NoSwap")
	} else {
		c.refuse(kc.MemorySwap.SwapBehavior != "", "memorySwap.swapBehavior cannot be set when NodeSwap feature "+
			"flag is disabled")
	}
	if cpus := kc.ReservedSystemCPUs; cpus != "" {
		c.refuse(kc.SystemReservedCgroup != "" || kc.KubeReservedCgroup != "",
			"can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup (--system-reserved-cgroup) or "+
				"kubeReservedCgroup (--kube-reserved-cgroup)")
		_, err := cpuset.Parse(cpus)
		c.refuse(err != nil, "unable to parse reservedSystemCPUs (--reserved-cpus) %v, error: %w", cpus, err)
	}
	if factor := kc.MemoryThrottlingFactor; factor != nil {
		c.refuse(!c.enabled("MemoryQoS") && *factor != 0.9 && c.version.Has(NoThrottlingFactor),
			"memoryThrottlingFactor must not be set when MemoryQoS feature gate is disabled")
		c.refuse(*factor <= 0 || *factor > 1, "memoryThrottlingFactor %v must be greater than 0 and less than or "+
			"equal to 1.0", *factor)
	}
	c.refuse(!c.enabled("MemoryQoS") && kc.MemoryReservationPolicy == "TieredReservation",
		"memoryReservationPolicy %q requires MemoryQoS feature gate to be enabled", kc.MemoryReservationPolicy)
	c.oneOf("option %q specified for memoryReservationPolicy. Valid options are %q or %q",
		string(kc.MemoryReservationPolicy), "None", "TieredReservation")
	if ns := kc.UserNamespaces; ns != nil && ns.IDsPerPod != nil {
		const unit = 65536
		switch ids := *ns.IDsPerPod; {
		case ids < unit:
			c.refuse(true, "userNamespaces.idsPerPod must not be less than %d", unit)
		case ids%unit != 0:
			c.refuse(true, "userNamespaces.idsPerPod must be a multiple of %d", unit)
		case ids > math.MaxUint32:
			c.refuse(true, "userNamespaces.idsPerPod must not be more than %d", int64(math.MaxUint32))
		}
	}
	c.reservedMemory()
	c.enforcement()
}

func (c *checker) reservedMemory() {
	seen := map[string]bool{}
	for _, r := range c.kc.ReservedMemory {
		for name, quantity := range r.Limits {
			c.refuse(!memoryResource(name), "the limit type %q for NUMA node %d is not supported, only "+
				"[memory hugepages-<HugePageSize>] is accepted", name, r.NumaNode)
			slot := fmt.Sprintf("NUMA node %d and resource %q", r.NumaNode, name)
			c.refuse(quantity.IsZero(), "reserved memory may not be zero for %s", slot)
			c.refuse(seen[slot], "the reserved memory has a duplicate value for %s", slot)
			seen[slot] = true
		}
	}
}

// enforcement checks enforceNodeAllocatable.
func (c *checker) enforcement() {
	const flag, text = "enforceNodeAllocatable (--enforce-node-allocatable)",
		"option %q specified for %s. Valid options are %s"
	compressible := c.version.Has(CompressibleReserved)
	valid := `"pods", "system-reserved", "system-reserved-compressible", "kube-reserved", ` +
		`"kube-reserved-compressible" or "none"`
	if !compressible {
		valid = `"pods", "system-reserved", "kube-reserved", or "none"`
	}
	levels := c.kc.EnforceNodeAllocatable
	which := func(kind string) string { // part of an error that a cgroup is missing
		if !compressible {
			return fmt.Sprintf("%q contained", kind)
		}
		return fmt.Sprintf("%q or %q included", kind, kind+"-compressible")
	}
	for _, kind := range []string{"system-reserved", "kube-reserved"} {
		c.refuse(compressible && slices.Contains(levels, kind) && slices.Contains(levels, kind+"-compressible"),
			"both %q and %q cannot be specified together in %s", kind, kind+"-compressible", flag)
	}
	c.refuse(!value(c.kc.CgroupsPerQOS) && len(levels) > 0 && !c.version.Has(EnforcesPerLevel),
		flag+" is not supported unless cgroupsPerQOS (--cgroups-per-qos) is set to true")
	for i, level := range levels {
		if slices.Contains(levels[:i], level) {
			c.refuse(c.version.Has(EnforcesPerLevel), "duplicated enforcements %q in %s", level, flag)
			continue
		}
		if strings.HasSuffix(level, "-compressible") && !compressible {
			c.refuse(true, text, level, flag, valid)
			continue
		}
		switch level {
		case "pods":
		case "system-reserved", "system-reserved-compressible":
			c.refuse(c.kc.SystemReservedCgroup == "", "systemReservedCgroup (--system-reserved-cgroup) must be "+
				"specified when %s in %s", which("system-reserved"), flag)
		case "kube-reserved", "kube-reserved-compressible":
			c.refuse(c.kc.KubeReservedCgroup == "", "kubeReservedCgroup (--kube-reserved-cgroup) must be specified "+
				"when %s in %s", which("kube-reserved"), flag)
		case "none":
			c.refuse(len(levels) > 1, "%s may not contain additional enforcements when %q is specified", flag, level)
			continue
		default:
			c.refuse(true, text, level, flag, valid)
			continue
		}
		c.refuse(!value(c.kc.CgroupsPerQOS) && c.version.Has(EnforcesPerLevel), "cgroupsPerQOS "+
			"(--cgroups-per-qos) must be set to true when %q contained in %s", level, flag)
	}
}

// This method checks the grace periods of a node shutdown.
func (c *checker) shutdown() {
	all, critical := c.kc.ShutdownGracePeriod, c.kc.ShutdownGracePeriodCriticalPods
	set := all.Duration > 0 || critical.Duration > 0
	if c.enabled("GracefulNodeShutdown") {
		c.refuse(critical.Duration > all.Duration, "shutdownGracePeriodCriticalPods %v must be <= "+
			"shutdownGracePeriod %v", critical, all)
		short := func(d time.Duration) bool { return d < 0 || (d > 0 && d < time.Second) }
		c.refuse(short(all.Duration), "shutdownGracePeriod %v must be either zero or otherwise >= 1 sec", all)
		c.refuse(short(critical.Duration), "shutdownGracePeriodCriticalPods %v must be either zero or otherwise >= 1 "+
			"sec", critical)
	} else {
		c.refuse(set, "specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate "+
			"GracefulNodeShutdown")
	}
	byPriority := len(c.kc.ShutdownGracePeriodByPodPriority) > 0
	gate := c.enabled("GracefulNodeShutdownBasedOnPodPriority")
	c.refuse(byPriority && gate && set, "Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod "+
		"at the same time")
	c.refuse(byPriority && !gate, "Specifying shutdownGracePeriodByPodPriority requires feature gate "+
		"GracefulNodeShutdownBasedOnPodPriority")
}

// This method checks the settings of image pulls and image garbage collection.
func (c *checker) images() {
	kc := c.kc
	low, high := value(kc.ImageGCLowThresholdPercent), value(kc.ImageGCHighThresholdPercent)
	c.refuse(low >= high, "imageGCLowThresholdPercent (--image-gc-low-threshold) %v must be less than "+
		"imageGCHighThresholdPercent (--image-gc-high-threshold) %v", low, high)
	least, most := kc.ImageMinimumGCAge.Duration, kc.ImageMaximumGCAge.Duration
	c.refuse(most != 0 && !c.enabled("ImageMaximumGCAge"), "ImageMaximumGCAge feature gate is required for Kubelet "+
		"configuration option imageMaximumGCAge")
	c.refuse(least < 0 && c.version.Has(ChecksMinimumAge), "imageMinimumGCAge %v must not be negative", least)
	c.refuse(most < 0, "imageMaximumGCAge %v must not be negative", most)
	c.refuse(most > 0 && most <= least, "imageMaximumGCAge %v must be greater than imageMinimumGCAge %v", most, least)
	if pulls := kc.MaxParallelImagePulls; pulls != nil {
		c.refuse(*pulls < 1, "maxParallelImagePulls %v must be a positive number", *pulls)
		c.refuse(*pulls > 1 && value(kc.SerializeImagePulls), "maxParallelImagePulls cannot be larger than 1 unless "+
			"SerializeImagePulls (--serialize-image-pulls) is set to false")
	}
	policy := string(kc.ImagePullCredentialsVerificationPolicy)
	if c.enabled("KubeletEnsureSecretPulledImages") {
		c.oneOf("option %q specified for imagePullCredentialsVerificationPolicy. Valid options are %q, %q, %q or %q",
			policy, "NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")
		c.refuse(len(kc.PreloadedImagesVerificationAllowlist) > 0 && policy != "NeverVerifyAllowlistedImages",
			"can't set `preloadedImagesVerificationAllowlist` if `imagePullCredentialsVertificationPolicy` is not "+
				"\"NeverVerifyAllowlistedImages\"")
		return
	}
	c.refuse(policy != "", "`imagePullCredentialsVerificationPolicy` must not be set if "+
		"KubeletEnsureSecretPulledImages feature gate is not enabled")
	c.refuse(len(kc.PreloadedImagesVerificationAllowlist) > 0, "`preloadedImagesVerificationAllowlist` must not be "+
		"set if KubeletEnsureSecretPulledImages feature gate is not enabled")
}

// This method checks the settings of the runtime, restarts, sysctls and log files.
func (c *checker) containers() {
	kc := c.kc
	c.refuse(kc.ContainerRuntimeEndpoint == "", "the containerRuntimeEndpoint was not specified or empty")
	c.refuse(value(kc.ContainerLogMaxWorkers) < 1, "containerLogMaxWorkers must be greater than or equal to 1")
	c.refuse(value(kc.ContainerLogMonitorInterval).Duration < 3*time.Second,
		"containerLogMonitorInterval must be a positive time duration greater than or equal to 3s")
	c.refuse(value(kc.ContainerLogMaxFiles) <= 1 && c.version.Has(ChecksLogFiles), "containerLogMaxFiles must "+
		"be greater than 1")
	c.refuse(kc.PodLogsDir == "", "podLogsDir was not specified")
	c.refuse(!filepath.IsAbs(kc.PodLogsDir), "pod logs path %q must be absolute path", kc.PodLogsDir)
	c.refuse(filepath.Clean(kc.PodLogsDir) != kc.PodLogsDir, "pod logs path %q must be normalized", kc.PodLogsDir)
	c.refuse(slices.ContainsFunc([]rune(kc.PodLogsDir), func(r rune) bool { return r > unicode.MaxASCII }),
		"pod logs path %q mut contains ASCII characters only", kc.PodLogsDir)
	restart := kc.CrashLoopBackOff.MaxContainerRestartPeriod
	switch {
	case c.enabled("KubeletCrashLoopBackOffMax") && restart == nil:
		c.refuse(true, "FeatureGate KubeletCrashLoopBackOffMax is enabled, "+
			"CrashLoopBackOff.MaxContainerRestartPeriod must be set")
	case c.enabled("KubeletCrashLoopBackOffMax"):
		c.refuse(validation.IsInRange(int(restart.Milliseconds()), 1000, 300000) != nil,
			"CrashLoopBackOff.MaxContainerRestartPeriod (got: %v seconds) must be set between 1s and 300s",
			restart.Seconds())
	case restart != nil:
		c.refuse(true, "FeatureGate KubeletCrashLoopBackOffMax not enabled, "+
			"CrashLoopBackOff.MaxContainerRestartPeriod must not be set")
	}
	c.sysctls()
}

func (c *checker) sysctls() {
	if len(c.kc.DefaultPodSysctls) > 0 && !c.enabled("DefaultPodSysctls") {
		c.refuse(true, "DefaultPodSysctls feature gate is required for Kubelet configuration option defaultPodSysctls")
		return
	}
	seen := map[string]bool{}
	for name := range c.kc.DefaultPodSysctls {
		if len(name) > longestSysctl || !sysctlName.MatchString(name) {
			c.refuse(true, "%q is not a valid sysctl name for defaultPodSysctls", name)
			continue
		}
		namespace, _, _ := sysctl.GetNamespace(name)
		c.refuse(namespace == sysctl.UnknownNamespace, "%q is not known to be namespaced for defaultPodSysctls", name)
		plain := sysctl.NormalizeName(name)
		c.refuse(seen[plain], "duplicate sysctl %q found in defaultPodSysctls", plain)
		seen[plain] = true
	}
}

// sysctlName matches a name of one or more segments, separated by dots or slashes. A segment consists of lower-case
// letters, digits, dashes and underscores, and begins and ends with a letter or a digit.
var sysctlName = regexp.MustCompile(`^(?:[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?$`)

const longestSysctl = 253
