package same

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
)

// configzCases lists configurations. Each has flags, and settings in addition to the settings that all tests use.
var configzCases = map[string]struct {
	settings kubelet.Settings
	args     []string
}{
	"defaults": {},
	"authentication by flags": {args: []string{"--anonymous-auth", "--authentication-token-webhook=false",
		"--authentication-token-webhook-cache-ttl=7s"}},
	"authorization by flags": {args: []string{"--authorization-mode=AlwaysAllow",
		"--authorization-webhook-cache-authorized-ttl=1m", "--authorization-webhook-cache-unauthorized-ttl=0"}},
	"flags over the file": {settings: kubelet.Settings{"maxPods": 5, "registryBurst": 6,
		"clusterDNS": []string{"9.9.9.9"}, "clusterDomain": "a.local"},
		args: []string{"--max-pods=7", "--cluster-dns=1.1.1.1,2.2.2.2", "--cluster-domain=b.local"}},
	"flags given twice": {args: []string{"--max-pods=7", "--max-pods=8", "--kube-reserved=cpu=1",
		"--kube-reserved=memory=1Gi", "--cluster_dns=1.1.1.1", "--cluster-dns=2.2.2.2"}},
	"maps of flags and file": {settings: kubelet.Settings{"kubeReserved": map[string]string{"cpu": "1"},
		"systemReserved": map[string]string{"memory": "1Gi"}}, args: []string{"--kube-reserved=memory=2Gi"}},
	"durations": {settings: kubelet.Settings{"nodeStatusUpdateFrequency": "5s",
		"streamingConnectionIdleTimeout": "1h", "syncFrequency": "90s", "runtimeRequestTimeout": "0s",
		"fileCheckFrequency": "1h30m", "volumeStatsAggPeriod": "-1s"}},
	"zeros": {settings: kubelet.Settings{"registryPullQPS": 0, "eventRecordQPS": 0, "kubeAPIQPS": 0,
		"podPidsLimit": 0, "syncFrequency": "0s", "healthzPort": 0, "readOnlyPort": 0}},
	"relative paths": {settings: kubelet.Settings{"staticPodPath": "manifests",
		"resolvConf": "../resolv.conf", "volumePluginDir": "plugins", "podLogsDir": "/srv/log/pods"}},
	"gates of the file": {settings: kubelet.Settings{"featureGates": map[string]bool{"AllAlpha": false,
		"MemoryQoS": true}}},
	"gates of both": {settings: kubelet.Settings{"featureGates": map[string]bool{"MemoryQoS": false,
		"PodLogsQuerySplitStreams": true}}, args: []string{"--feature-gates=MemoryQoS=true,AllAlpha=false"}},
	"log query": {settings: kubelet.Settings{"enableSystemLogQuery": true,
		"featureGates": map[string]bool{"NodeLogQuery": true}}},
	"eviction": {settings: kubelet.Settings{"evictionHard": map[string]string{"memory.available": "1Mi"},
		"evictionSoft":            map[string]string{"nodefs.available": "20%"},
		"evictionSoftGracePeriod": map[string]string{"nodefs.available": "1m"}}},
	"eviction merged": {settings: kubelet.Settings{"evictionHard": map[string]string{"memory.available": "1Mi"},
		"mergeDefaultEvictionSettings": true}},
	"eviction by flags": {args: []string{"--eviction-hard=memory.available<2Mi,nodefs.available<3%",
		"--eviction-minimum-reclaim=imagefs.available=2Gi"}},
	"taints": {settings: kubelet.Settings{"registerWithTaints": []map[string]string{{"key": "a",
		"value": "b", "effect": "NoSchedule"}}}},
	"taints by flags": {settings: kubelet.Settings{"registerWithTaints": []map[string]string{{"key": "a",
		"effect": "NoSchedule"}}}, args: []string{"--register-with-taints=c=d:NoExecute,e:PreferNoSchedule"}},
	"logs as JSON": {settings: kubelet.Settings{"logging.format": "json", "logging.verbosity": 3,
		"logging.flushFrequency": "1s"}},
	"verbosity by flags": {settings: kubelet.Settings{"logging.vmodule": []map[string]any{{"filePattern": "c",
		"verbosity": 3}}}, args: []string{"-v=4", "--vmodule=a=1,b=2", "--log-flush-frequency=3s"}},
	"pulls": {settings: kubelet.Settings{"serializeImagePulls": false, "maxParallelImagePulls": 3,
		"imageGCHighThresholdPercent": 90, "imageMinimumGCAge": "3m", "imageMaximumGCAge": "1h"}},
	"memory and topology": {settings: kubelet.Settings{"topologyManagerPolicy": "restricted",
		"topologyManagerScope": "pod", "reservedMemory": []map[string]any{{"numaNode": 0,
			"limits": map[string]string{"memory": "1.5Gi"}}}, "memoryManagerPolicy": "Static"}},
	"reserved memory by flags": {args: []string{"--reserved-memory=0:memory=1Gi,hugepages-1Mi=2Gi;1:memory=2Gi",
		"--memory-manager-policy=Static"}},
	"shutdown": {settings: kubelet.Settings{"shutdownGracePeriod": "30s",
		"shutdownGracePeriodCriticalPods": "10s", "crashLoopBackOff.maxContainerRestartPeriod": "10s"}},
	"lists": {settings: kubelet.Settings{"allowedUnsafeSysctls": []string{"kernel.msg*",
		"net.core.somaxconn"}, "enforceNodeAllocatable": []string{"none"}}},
	"static pods of a URL": {settings: kubelet.Settings{"staticPodURL": "http://127.0.0.1:9/pods",
		"staticPodURLHeader": map[string][]string{"X-Secret": {"a", "b"}}}},
	"serving certificate by TLS": {settings: kubelet.Settings{"tlsMinVersion": "VersionTLS12",
		"tlsCipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}}},
	"TLS by flags": {args: []string{"--tls-min-version=VersionTLS13"}},
	"swap and namespaces": {settings: kubelet.Settings{"failSwapOn": false, "memorySwap.swapBehavior": "LimitedSwap",
		"userNamespaces.idsPerPod": 131072}},
	"tracing": {settings: kubelet.Settings{"tracing.endpoint": "127.0.0.1:9", "tracing.samplingRatePerMillion": 7}},
}

// TestSameConfigz compares the effective configuration that both servers return for the same file and flags. Package
// kubeletfacts tests how configurations are loaded, including errors and drop-in files.
//
// The test proves statement 5 of docs/claims.md.
func TestSameConfigz(t *testing.T) {
	t.Parallel()
	reviews := reviews.Start(t)
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	client, err := p.CA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	for _, name := range sortedKeys(configzCases) {
		c := configzCases[name]
		t.Run(name, func(t *testing.T) {
			o := kubelet.Options{Port: programs.FreePort(t), Dir: t.TempDir(), Kubeconfig: reviews.Kubeconfig,
				Settings: c.settings, Args: c.args}
			responses := map[string]kubelet.Response{}
			for _, kind := range []string{"reference", "fauxlet"} {
				t.Run(kind, func(t *testing.T) { // when this subtest ends, the kubelet stops and its port is free
					o.Kind = kind
					responses[kind] = kubelet.Start(t, nil, o).Get(t, "/configz", kubelet.Credential{Pair: client})
				})
			}
			want, got := responses["reference"], responses["fauxlet"]
			if want.Status != http.StatusOK || got.Status != http.StatusOK {
				t.Fatalf("/configz: reference %d %q, fauxlet %d %q", want.Status, want.Body, got.Status, got.Body)
			}
			var wanted, gotten map[string]any
			expect.NoError(t, json.Unmarshal([]byte(want.Body), &wanted))
			expect.NoError(t, json.Unmarshal([]byte(got.Body), &gotten))
			if diff := cmp.Diff(wanted, gotten); diff != "" {
				t.Errorf("configz (-reference +fauxlet):\n%s", diff)
			} else if want.Body != got.Body {
				t.Errorf("the fields are equal but their order differs:\n%s\n%s", want.Body, got.Body)
			}
		})
	}
}
