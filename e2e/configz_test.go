package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configzCases are files, as settings over those that every kubelet of a test has, and flags.
var configzCases = map[string]struct {
	settings settings
	args     []string
}{
	"defaults":                   {},
	"authentication by flags":    {args: []string{"--anonymous-auth", "--authentication-token-webhook=false", "--authentication-token-webhook-cache-ttl=7s"}},
	"authorization by flags":     {args: []string{"--authorization-mode=AlwaysAllow", "--authorization-webhook-cache-authorized-ttl=1m", "--authorization-webhook-cache-unauthorized-ttl=0"}},
	"flags over the file":        {settings: settings{"maxPods": 5, "registryBurst": 6, "clusterDNS": []string{"9.9.9.9"}, "clusterDomain": "a.local"}, args: []string{"--max-pods=7", "--cluster-dns=1.1.1.1,2.2.2.2", "--cluster-domain=b.local"}},
	"flags given twice":          {args: []string{"--max-pods=7", "--max-pods=8", "--kube-reserved=cpu=1", "--kube-reserved=memory=1Gi", "--cluster_dns=1.1.1.1", "--cluster-dns=2.2.2.2"}},
	"maps of flags and file":     {settings: settings{"kubeReserved": map[string]string{"cpu": "1"}, "systemReserved": map[string]string{"memory": "1Gi"}}, args: []string{"--kube-reserved=memory=2Gi"}},
	"durations":                  {settings: settings{"nodeStatusUpdateFrequency": "5s", "streamingConnectionIdleTimeout": "1h", "syncFrequency": "90s", "runtimeRequestTimeout": "0s", "fileCheckFrequency": "1h30m", "volumeStatsAggPeriod": "-1s"}},
	"zeros":                      {settings: settings{"registryPullQPS": 0, "eventRecordQPS": 0, "kubeAPIQPS": 0, "podPidsLimit": 0, "syncFrequency": "0s", "healthzPort": 0, "readOnlyPort": 0}},
	"relative paths":             {settings: settings{"staticPodPath": "manifests", "resolvConf": "../resolv.conf", "volumePluginDir": "plugins", "podLogsDir": "/srv/log/pods"}},
	"gates of the file":          {settings: settings{"featureGates": map[string]bool{"AllAlpha": false, "MemoryQoS": true}}},
	"gates of both":              {settings: settings{"featureGates": map[string]bool{"MemoryQoS": false, "PodLogsQuerySplitStreams": true}}, args: []string{"--feature-gates=MemoryQoS=true,AllAlpha=false"}},
	"log query":                  {settings: settings{"enableSystemLogQuery": true, "featureGates": map[string]bool{"NodeLogQuery": true}}},
	"eviction":                   {settings: settings{"evictionHard": map[string]string{"memory.available": "1Mi"}, "evictionSoft": map[string]string{"nodefs.available": "20%"}, "evictionSoftGracePeriod": map[string]string{"nodefs.available": "1m"}}},
	"eviction merged":            {settings: settings{"evictionHard": map[string]string{"memory.available": "1Mi"}, "mergeDefaultEvictionSettings": true}},
	"eviction by flags":          {args: []string{"--eviction-hard=memory.available<2Mi,nodefs.available<3%", "--eviction-minimum-reclaim=imagefs.available=2Gi"}},
	"taints":                     {settings: settings{"registerWithTaints": []map[string]string{{"key": "a", "value": "b", "effect": "NoSchedule"}}}},
	"taints by flags":            {settings: settings{"registerWithTaints": []map[string]string{{"key": "a", "effect": "NoSchedule"}}}, args: []string{"--register-with-taints=c=d:NoExecute,e:PreferNoSchedule"}},
	"logs as JSON":               {settings: settings{"logging.format": "json", "logging.verbosity": 3, "logging.flushFrequency": "1s"}},
	"verbosity by flags":         {settings: settings{"logging.vmodule": []map[string]any{{"filePattern": "c", "verbosity": 3}}}, args: []string{"-v=4", "--vmodule=a=1,b=2", "--log-flush-frequency=3s"}},
	"pulls":                      {settings: settings{"serializeImagePulls": false, "maxParallelImagePulls": 3, "imageGCHighThresholdPercent": 90, "imageMinimumGCAge": "3m", "imageMaximumGCAge": "1h"}},
	"memory and topology":        {settings: settings{"topologyManagerPolicy": "restricted", "topologyManagerScope": "pod", "reservedMemory": []map[string]any{{"numaNode": 0, "limits": map[string]string{"memory": "1.5Gi"}}}, "memoryManagerPolicy": "Static"}},
	"reserved memory by flags":   {args: []string{"--reserved-memory=0:memory=1Gi,hugepages-1Mi=2Gi;1:memory=2Gi", "--memory-manager-policy=Static"}},
	"shutdown":                   {settings: settings{"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s", "crashLoopBackOff.maxContainerRestartPeriod": "10s"}},
	"lists":                      {settings: settings{"allowedUnsafeSysctls": []string{"kernel.msg*", "net.core.somaxconn"}, "enforceNodeAllocatable": []string{"none"}}},
	"static pods of a URL":       {settings: settings{"staticPodURL": "http://127.0.0.1:9/pods", "staticPodURLHeader": map[string][]string{"X-Secret": {"a", "b"}}}},
	"serving certificate by TLS": {settings: settings{"tlsMinVersion": "VersionTLS12", "tlsCipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}}},
	"TLS by flags":               {args: []string{"--tls-min-version=VersionTLS13"}},
	"swap and namespaces":        {settings: settings{"failSwapOn": false, "memorySwap.swapBehavior": "LimitedSwap", "userNamespaces.idsPerPod": 131072}},
	"tracing":                    {settings: settings{"tracing.endpoint": "127.0.0.1:9", "tracing.samplingRatePerMillion": 7}},
}

// TestSameConfigz compares the effective configuration that the two serve, made of the same file and the same flags. The
// loader by itself, with its errors and drop-ins, is compared in kubeletfacts.
func TestSameConfigz(t *testing.T) {
	reviews := startReviews(t)
	p, err := certificates()
	must(t, err)
	client, err := p.ca.Client("kubelet-client", nil)
	must(t, err)
	for _, name := range sortedKeys(configzCases) {
		c := configzCases[name]
		t.Run(name, func(t *testing.T) {
			o := kubeletOptions{port: freePort(t), dir: t.TempDir(), kubeconfig: reviews.kubeconfig, settings: c.settings, args: c.args}
			told := map[string]answer{}
			for _, kind := range []string{"reference", "fauxlet"} {
				t.Run(kind, func(t *testing.T) { // so that it is stopped, and its port free, at the end
					o.kind = kind
					told[kind] = startKubelet(t, nil, o).get(t, "/configz", identity{pair: client})
				})
			}
			want, got := told["reference"], told["fauxlet"]
			if want.status != http.StatusOK || got.status != http.StatusOK {
				t.Fatalf("%d %q of the reference, %d %q of fauxlet", want.status, want.body, got.status, got.body)
			}
			var wanted, gotten map[string]any
			must(t, json.Unmarshal([]byte(want.body), &wanted))
			must(t, json.Unmarshal([]byte(got.body), &gotten))
			if diff := cmp.Diff(wanted, gotten); diff != "" {
				t.Errorf("configz (-reference +fauxlet):\n%s", diff)
			} else if want.body != got.body {
				t.Errorf("the same in another order:\n%s\n%s", want.body, got.body)
			}
		})
	}
}
