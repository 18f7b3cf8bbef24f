package main

const (
	header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
	config = "--config=kubelet.yaml"
	dir    = "--config-dir=conf"
)

// The function "file" returns the files of a case, with contents by name. The first is the configuration file
// kubelet.yaml, which has the kind KubeletConfiguration and the given content. The parameter "more" has further files,
// as alternating names and contents.
func file(body string, more ...string) map[string]string {
	return files(append([]string{"kubelet.yaml", header + body}, more...)...)
}

// files returns a map of file contents. The arguments are alternating names and contents.
func files(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// written lists the handwritten cases; each of them tests one rule. The function flagCases generates further cases,
// which test the flags.
var written = []load{
	{Name: "no flags"},
	{Name: "empty config", Args: []string{config}, Files: file("")},
	{Name: "JSON config", Args: []string{config},
		Files: files("kubelet.yaml",
			`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","port":10350}`)},

	// These cases test unusual numbers, and documents that begin with a separator.
	{Name: "hexadecimal number", Args: []string{config}, Files: file("port: 0x2710\n")},
	{Name: "number with an exponent", Args: []string{config}, Files: file("port: 1e4\n")},
	{Name: "number with a fraction of zero", Args: []string{config}, Files: file("port: 10250.0\n")},
	{Name: "octal number", Args: []string{config}, Files: file("port: 0o17\n")},
	{Name: "document separator first", Args: []string{config},
		Files: files("kubelet.yaml", "---\n"+header+"port: 10350\n")},

	// These cases test the two sets of defaults (with and without a configuration file), and when each set applies.
	{Name: "flags only, all four legacy defaults overruled",
		Args: []string{"--anonymous-auth=false", "--authentication-token-webhook", "--authorization-mode=Webhook",
			"--read-only-port=0"}},
	{Name: "dir without file keeps the legacy defaults", Args: []string{dir},
		Files: files("conf/1.conf", header+"port: 7\n")},
	{Name: "file and dir", Args: []string{config, dir},
		Files: file("port: 6\nmaxPods: 6\n", "conf/1.conf", header+"port: 7\n")},
	{Name: "empty dir", Args: []string{config, dir}, Files: file("port: 6\n", "conf/README", "x")},

	// These cases test the precedence: flags, then drop-in files, then the configuration file.
	{Name: "flag over file", Args: []string{config, "--port=8"}, Files: file("port: 6\n")},
	{Name: "flag before the config flag", Args: []string{"--port=8", config}, Files: file("port: 6\n")},
	{Name: "flag over drop-in", Args: []string{config, dir, "--port=8"},
		Files: file("port: 6\n", "conf/1.conf", header+"port: 7\n")},
	{Name: "flag twice", Args: []string{"--port=7", "--port=8"}},
	{Name: "flag with underscores", Args: []string{"--read_only_port=7", "--anonymous_auth=false"}},
	{Name: "bool flag without a value", Args: []string{config, "--anonymous-auth"}, Files: file("")},
	{Name: "anonymous off by flag over file", Args: []string{config, "--anonymous-auth=false"},
		Files: file("authentication: {anonymous: {enabled: true}}\n")},
	{Name: "legacy values by flag over file", Args: []string{config, "--authorization-mode=AlwaysAllow",
		"--read-only-port=10255"}, Files: file("")},
	{Name: "list flag replaces the file's list",
		Args:  []string{config, "--cluster-dns=1.1.1.1", "--cluster-dns=2.2.2.2,3.3.3.3"},
		Files: file("clusterDNS: [9.9.9.9]\n")},
	{Name: "map flag replaces the file's map", Args: []string{config, "--kube-reserved=cpu=1"},
		Files: file("kubeReserved: {memory: 1Gi}\n")},
	{Name: "map flag twice", Args: []string{"--kube-reserved=cpu=1", "--kube-reserved=memory=1Gi"}},
	{Name: "vmodule adds to the file's", Args: []string{config, "--vmodule=a=1", "--vmodule=b=2"},
		Files: file("logging: {vmodule: [{filePattern: c, verbosity: 3}]}\n")},
	{Name: "empty address keeps the address", Args: []string{config, "--address="},
		Files: file("address: 127.0.0.1\n")},
	{Name: "flag v short", Args: []string{"-v", "4"}},
	{Name: "flag v over file", Args: []string{config, "--v=2"}, Files: file("logging: {verbosity: 5}\n")},

	// Drop-ins.
	{Name: "drop-ins in lexical order", Args: []string{config, dir},
		Files: file("port: 1\n", "conf/10-a.conf", header+"port: 10\nmaxPods: 10\n", "conf/9-b.conf",
			header+"port: 9\n")},
	{Name: "drop-ins in folders", Args: []string{config, dir},
		Files: file("", "conf/b/1.conf", header+"port: 2\n", "conf/a/9.conf", header+"port: 1\nmaxPods: 5\n",
			"conf/c.conf",
			header+"readOnlyPort: 3\n")},
	{Name: "only .conf is read", Args: []string{config, dir},
		Files: file("port: 1\n", "conf/1.yaml", header+"port: 10\n", "conf/2.conf.bak", "{", "conf/.conf",
			header+"port: 3\n")},
	{Name: "drop-in merges maps", Args: []string{config, dir},
		Files: file("featureGates: {AllAlpha: false}\nkubeReserved: {cpu: \"1\"}\n", "conf/1.conf",
			header+"kubeReserved: {memory: 1Gi}\nevictionHard: {memory.available: 1Mi}\n")},
	{Name: "drop-in replaces lists", Args: []string{config, dir},
		Files: file("clusterDNS: [1.1.1.1, 2.2.2.2]\n", "conf/1.conf", header+"clusterDNS: [3.3.3.3]\n")},
	{Name: "drop-in null restores the default", Args: []string{config, dir},
		Files: file("port: 7\nauthentication: {anonymous: {enabled: true}}\n", "conf/1.conf",
			header+"port: null\nauthentication: {anonymous: null}\n")},
	{Name: "drop-in zero", Args: []string{config, dir},
		Files: file("port: 7\nreadOnlyPort: 8\nhealthzPort: 9\n", "conf/1.conf",
			header+"port: 0\nreadOnlyPort: 0\nhealthzPort: 0\n")},
	{Name: "drop-in is JSON", Args: []string{config, dir},
		Files: file("", "conf/1.conf",
			`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","port":5}`)},
	{Name: "drop-in relative paths", Args: []string{config, dir},
		Files: file("tlsCertFile: a.crt\n", "conf/1.conf",
			header+"tlsPrivateKeyFile: b.key\nauthentication: {x509: {clientCAFile: ca.crt}}\n")},
	{Name: "drop-in unknown field", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"prot: 5\nauthentication: {anonymus: {enabled: true}}\n")},
	{Name: "drop-in field twice", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"port: 5\nport: 6\n")},
	{Name: "drop-in of another type", Args: []string{config, dir}, Files: file("", "conf/1.conf", header+"port: x\n")},
	{Name: "drop-in empty", Args: []string{config, dir}, Files: file("", "conf/1.conf", "")},
	{Name: "drop-in without apiVersion", Args: []string{config, dir},
		Files: file("", "conf/1.conf", "kind: KubeletConfiguration\n")},
	{Name: "drop-in without kind", Args: []string{config, dir},
		Files: file("", "conf/1.conf", "apiVersion: kubelet.config.k8s.io/v1beta1\n")},
	{Name: "drop-in without both", Args: []string{config, dir}, Files: file("", "conf/1.conf", "port: 5\n")},
	{Name: "drop-in of another kind", Args: []string{config, dir},
		Files: file("", "conf/1.conf", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\n")},
	{Name: "drop-in of another version", Args: []string{config, dir},
		Files: file("", "conf/1.conf", "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n")},
	{Name: "drop-in is not YAML", Args: []string{config, dir}, Files: file("", "conf/1.conf", "a: [\n")},
	{Name: "no such dir", Args: []string{config, dir}, Files: file("")},
	{Name: "dir is a file", Args: []string{"--config-dir=a.conf"}, Files: files("a.conf", header+"port: 5\n")},

	// Defaulting.
	{Name: "explicit zeros", Args: []string{config},
		Files: file("port: 0\nreadOnlyPort: 0\nhealthzPort: 0\nregistryPullQPS: 0\nregistryBurst: " +
			"0\neventRecordQPS: 0\nkubeAPIQPS: 0\nmaxPods: 0\npodPidsLimit: 0\nsyncFrequency: " +
			"0s\nstreamingConnectionIdleTimeout: 0s\nauthentication: {webhook: {cacheTTL: 0s}}\nauthorization: " +
			"{webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}}\n")},
	{Name: "explicit empties", Args: []string{config},
		Files: file("address: \"\"\nauthorization: {mode: \"\"}\nresolvConf: \"\"\nenforceNodeAllocatable: " +
			"[]\nevictionHard: {}\nclusterDNS: []\ncontentType: \"\"\ncontainerRuntimeEndpoint: \"\"\n")},
	{Name: "explicit nulls", Args: []string{config},
		Files: file("port: null\nauthentication: null\nenableServer: null\nfeatureGates: null\nlogging: null\n")},
	{Name: "all off", Args: []string{config},
		Files: file("enableServer: false\nenableDebuggingHandlers: false\nenableProfilingHandler: " +
			"false\nenableDebugFlagsHandler: false\nenableSystemLogHandler: false\nregisterNode: " +
			"false\nfailSwapOn: false\nserializeImagePulls: false\nauthentication: {anonymous: {enabled: false}, " +
			"webhook: {enabled: false}}\n")},
	{Name: "durations", Args: []string{config},
		Files: file("nodeStatusUpdateFrequency: 5s\nstreamingConnectionIdleTimeout: 1h\nauthentication: {webhook: " +
			"{cacheTTL: 10s}}\nauthorization: {webhook: {cacheAuthorizedTTL: 1s, cacheUnauthorizedTTL: 2s}}\n")},
	{Name: "report frequency follows update frequency", Args: []string{config},
		Files: file("nodeStatusUpdateFrequency: 20s\n")},
	{Name: "report frequency does not follow the flag", Args: []string{config, "--node-status-update-frequency=20s"},
		Files: file("")},
	{Name: "report frequency set", Args: []string{config},
		Files: file("nodeStatusUpdateFrequency: 20s\nnodeStatusReportFrequency: 1m\n")},
	{Name: "parallel pulls", Args: []string{config}, Files: file("maxParallelImagePulls: 3\n")},
	{Name: "parallel pulls of one", Args: []string{config}, Files: file("maxParallelImagePulls: 1\n")},
	{Name: "negative pid limit", Args: []string{config}, Files: file("podPidsLimit: -7\n")},
	{Name: "eviction set", Args: []string{config}, Files: file("evictionHard: {memory.available: 1Mi}\n")},
	{Name: "eviction merged with defaults", Args: []string{config},
		Files: file("mergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 1Mi}\n")},
	{Name: "gate of a default off", Args: []string{config},
		Files: file("featureGates: {KubeletEnsureSecretPulledImages: false}\n")},
	{Name: "gate of a default off by flag", Args: []string{config, "--feature-gates=KubeletCrashLoopBackOffMax=false"},
		Files: file("")},
	{Name: "gate of a default off by flag alone", Args: []string{"--feature-gates=KubeletCrashLoopBackOffMax=false"}},
	{Name: "reserved memory", Args: []string{config},
		Files: file("reservedMemory: [{numaNode: 0, limits: {memory: 1.0001Gi, hugepages-1Gi: 100m}}]\n")},

	// Paths.
	{Name: "relative paths", Args: []string{"--config=etc/kubelet.yaml"},
		Files: files("etc/kubelet.yaml",
			header+"staticPodPath: manifests\ntlsCertFile: pki/../a.crt\ntlsPrivateKeyFile: "+
				"./a.key\nauthentication: {x509: {clientCAFile: ../ca.crt}}\nresolvConf: "+
				"resolv.conf\nvolumePluginDir: plugins\npodLogsDir: logs\n")},
	{Name: "absolute paths", Args: []string{config},
		Files: file("tlsCertFile: /a.crt\ntlsPrivateKeyFile: /b/../a.key\n")},
	{Name: "relative paths by flag", Args: []string{config, "--tls-cert-file=a.crt", "--client-ca-file=ca.crt"},
		Files: file("tlsPrivateKeyFile: a.key\n")},

	// Feature gates.
	{Name: "gates merge", Args: []string{config, "--feature-gates=AllAlpha=false,MemoryQoS=true"},
		Files: file("featureGates: {MemoryQoS: false, NodeLogQuery: true}\n")},
	{Name: "gates of the dir merge", Args: []string{config, dir, "--feature-gates=AllBeta=true"},
		Files: file("featureGates: {NodeLogQuery: true}\n", "conf/1.conf", header+"featureGates: {AllAlpha: false}\n")},
	{Name: "gates flag twice", Args: []string{"--feature-gates=AllAlpha=false", "--feature-gates=AllBeta=true"}},
	{Name: "unknown gate by flag", Args: []string{"--feature-gates=Nope=true"}},
	{Name: "unknown gate in file", Args: []string{config}, Files: file("featureGates: {Nope: true}\n")},
	{Name: "locked gate in file", Args: []string{config},
		Files: file("featureGates: {KubeletFineGrainedAuthz: false}\n")},
	{Name: "locked gate by flag", Args: []string{"--feature-gates=KubeletFineGrainedAuthz=false"}},
	{Name: "gate that needs another", Args: []string{"--feature-gates=EventedPLEG=true,PLEGOnDemandRelist=false"}},
	{Name: "gate malformed", Args: []string{"--feature-gates=Nope"}},
	{Name: "gate not a bool", Args: []string{"--feature-gates=AllAlpha=maybe"}},

	// These cases have configuration files that cannot be read or decoded.
	{Name: "no such file", Args: []string{"--config=none.yaml"}},
	{Name: "empty file", Args: []string{config}, Files: files("kubelet.yaml", "")},
	{Name: "blank file", Args: []string{config}, Files: files("kubelet.yaml", "\n")},
	{Name: "not YAML", Args: []string{config}, Files: files("kubelet.yaml", "a: [\n")},
	{Name: "not an object", Args: []string{config}, Files: files("kubelet.yaml", "- 1\n")},
	{Name: "no apiVersion", Args: []string{config}, Files: files("kubelet.yaml", "kind: KubeletConfiguration\n")},
	{Name: "no kind", Args: []string{config}, Files: files("kubelet.yaml",
		"apiVersion: kubelet.config.k8s.io/v1beta1\n")},
	{Name: "neither", Args: []string{config}, Files: files("kubelet.yaml", "port: 1\n")},
	{Name: "other kind", Args: []string{config},
		Files: files("kubelet.yaml", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: Foo\n")},
	{Name: "other kind of the group", Args: []string{config},
		Files: files("kubelet.yaml",
			"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\nproviders: []\n")},
	{Name: "other version", Args: []string{config},
		Files: files("kubelet.yaml", "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n")},
	{Name: "other group", Args: []string{config},
		Files: files("kubelet.yaml", "apiVersion: apps/v1\nkind: KubeletConfiguration\n")},
	{Name: "unknown field", Args: []string{config}, Files: file("prot: 1\n")},
	{Name: "unknown field within", Args: []string{config},
		Files: file("authentication: {anonymus: {enabled: true}}\n")},
	{Name: "field in another case", Args: []string{config}, Files: file("Port: 1\nreadonlyPort: 5\n")},
	{Name: "field twice", Args: []string{config}, Files: file("port: 1\nport: 2\n")},
	{Name: "field of another type", Args: []string{config}, Files: file("port: x\n")},
	{Name: "unknown field and another type", Args: []string{config}, Files: file("prot: 1\nport: x\n")},
	{Name: "bool in quotes", Args: []string{config}, Files: file("enableServer: \"true\"\n")},
	{Name: "bad duration", Args: []string{config}, Files: file("syncFrequency: soon\n")},
	{Name: "number too large", Args: []string{config}, Files: file("port: 4294967296\n")},

	// These cases have flags that cannot be parsed.
	{Name: "unknown flag", Args: []string{"--nope"}},
	{Name: "unknown short flag", Args: []string{"-x"}},
	{Name: "bad address", Args: []string{"--address=1.2"}},
	{Name: "port too large for its type", Args: []string{"--port=4294967296"}},
	{Name: "taint without an effect", Args: []string{"--register-with-taints=a=b"}},
	{Name: "taint of another effect", Args: []string{"--register-with-taints=a=b:Never"}},
	{Name: "taint twice", Args: []string{"--register-with-taints=a=b:NoSchedule,a=c:NoSchedule"}},
	{Name: "taints",
		Args: []string{"--register-with-taints=a=b:NoSchedule,c:NoExecute,d=:PreferNoSchedule,e=f:NoSchedule-"}},
	{Name: "reserved memory by flag", Args: []string{"--reserved-memory=0:memory=1Gi,hugepages-1Mi=2Gi;1:memory=2Gi",
		"--reserved-memory=2:memory=1Gi"}},
	{Name: "reserved memory of another type", Args: []string{"--reserved-memory=0:cpu=1"}},

	// Node labels.
	{Name: "labels", Args: []string{"--node-labels=a=b,c=,d",
		"--node-labels=node.kubernetes.io/x=y,kubelet.kubernetes.io/x=y"}},
	{Name: "label of Kubernetes", Args: []string{"--node-labels=kubernetes.io/x=y,foo.k8s.io/z=y"}},
	{Name: "label with a bad name", Args: []string{"--node-labels=a b=c"}},
	{Name: "label with a bad value", Args: []string{"--node-labels=a=b c"}},

	// Validation.
	{Name: "port too large", Args: []string{config}, Files: file("port: 99999\n")},
	{Name: "port negative", Args: []string{config}, Files: file("port: -1\n")},
	{Name: "port 0 by flag", Args: []string{"--port=0"}},
	{Name: "read-only port too large", Args: []string{config}, Files: file("readOnlyPort: 65536\n")},
	{Name: "healthz port negative", Args: []string{config}, Files: file("healthzPort: -1\n")},
	{Name: "many faults", Args: []string{config},
		Files: file("port: 99999\nreadOnlyPort: -1\nhealthzPort: 99999\nrunOnce: true\nmaxPods: -1\nkubeAPIQPS: " +
			"-1\nkubeAPIBurst: -1\nnodeStatusMaxImages: -2\nnodeLeaseDurationSeconds: -1\noomScoreAdj: " +
			"1001\niptablesDropBit: 32\nimageGCHighThresholdPercent: 101\nimageGCLowThresholdPercent: " +
			"-1\nhairpinMode: x\ntopologyManagerPolicy: x\ntopologyManagerScope: x\nmemorySwap: {swapBehavior: " +
			"x}\ncontainerLogMaxFiles: 1\ncontainerLogMaxWorkers: 0\ncontainerLogMonitorInterval: " +
			"1s\nshutdownGracePeriod: 1ms\nshutdownGracePeriodCriticalPods: 2ms\nimageMinimumGCAge: " +
			"3m\nimageMaximumGCAge: 1m\ncrashLoopBackOff: {maxContainerRestartPeriod: " +
			"1ms}\nenforceNodeAllocatable: [pods, pods, none, x, system-reserved, " +
			"kube-reserved-compressible]\ncgroupsPerQOS: false\nmemoryThrottlingFactor: " +
			"2\nmemoryReservationPolicy: x\nreservedSystemCPUs: " +
			"x\nkubeReservedCgroup: /y\nsystemCgroups: z\nimagePullCredentialsVerificationPolicy: " +
			"x\ncpuCFSQuotaPeriod: 1s\nmaxParallelImagePulls: 3\nserializeImagePulls: true\npodLogsDir: " +
			"/a/../b\u00fc\n")},
	{Name: "throttling factor without its gate", Args: []string{config}, Files: file("memoryThrottlingFactor: 0.8\n")},
	{Name: "negative age of images", Args: []string{config}, Files: file("imageMinimumGCAge: -1m\n")},
	{Name: "one log file", Args: []string{config}, Files: file("containerLogMaxFiles: 1\n")},
	{Name: "enforcement twice", Args: []string{config}, Files: file("enforceNodeAllocatable: [pods, pods]\n")},
	{Name: "enforcement without its cgroup", Args: []string{config},
		Files: file("enforceNodeAllocatable: [system-reserved, kube-reserved]\n")},
	{Name: "enforcement of all and of what is compressible", Args: []string{config},
		Files: file("enforceNodeAllocatable: [system-reserved, " +
			"system-reserved-compressible]\nsystemReservedCgroup: /a\n")},
	{Name: "tracing without its gate", Args: []string{config},
		Files: file("tracing: {endpoint: \"192.0.2.1:1\"}\nfeatureGates: {KubeletTracing: false}\n")},
	{Name: "negative rate of tracing", Args: []string{config}, Files: file("tracing: {samplingRatePerMillion: -1}\n")},
	{Name: "short restart period", Args: []string{config},
		Files: file("crashLoopBackOff: {maxContainerRestartPeriod: 1ms}\n")},
	{Name: "swap without failing on it", Args: []string{config},
		Files: file("failSwapOn: false\nmemorySwap: {swapBehavior: LimitedSwap}\n")},
	{Name: "swap behavior without its gate", Args: []string{config},
		Files: file("memorySwap: {swapBehavior: LimitedSwap}\nfeatureGates: {NodeSwap: false}\n")},
	{Name: "eviction of an unknown signal", Args: []string{config}, Files: file("evictionHard: {foo: 1Mi}\n")},
	{Name: "system log query without its gate", Args: []string{config},
		Files: file("enableSystemLogQuery: true\nfeatureGates: {NodeLogQuery: false}\n")},
	{Name: "system log query without the handler", Args: []string{config},
		Files: file("enableSystemLogQuery: true\nenableSystemLogHandler: false\nfeatureGates: {NodeLogQuery: true}\n")},
	{Name: "system log query", Args: []string{config},
		Files: file("enableSystemLogQuery: true\nfeatureGates: {NodeLogQuery: true}\n")},
	{Name: "serving certificate of the cluster", Args: []string{config},
		Files: file("serverTLSBootstrap: true\nrotateCertificates: true\n")},
	{Name: "serving certificate of the cluster without its gate", Args: []string{config},
		Files: file("serverTLSBootstrap: true\nfeatureGates: {RotateKubeletServerCertificate: false}\n")},
	{Name: "one of the serving files", Args: []string{config}, Files: file("tlsCertFile: a.crt\n")},
	{Name: "mode neither", Args: []string{config}, Files: file("authorization: {mode: Foo}\n")},
	{Name: "mode empty by flag", Args: []string{"--authorization-mode="}},
	{Name: "log format json", Args: []string{config, "--logging-format=json"}, Files: file("")},
	{Name: "log format unknown", Args: []string{config}, Files: file("logging: {format: xml}\n")},
	{Name: "log flush negative", Args: []string{"--log-flush-frequency=-1s"}},
	{Name: "log options behind a gate", Args: []string{"--log-text-split-stream"}},
	{Name: "log flush as a number", Args: []string{config}, Files: file("logging: {flushFrequency: 1000000000}\n")},
	{Name: "vmodule with json", Args: []string{"--logging-format=json", "--vmodule=a=1"}},
	{Name: "reserved memory faults", Args: []string{config},
		Files: file("reservedMemory: [{numaNode: 0, limits: {cpu: \"1\", memory: \"0\"}}, {numaNode: 0, limits: " +
			"{memory: 1Gi}}]\n")},
	{Name: "sysctl faults", Args: []string{config},
		Files: file("featureGates: {DefaultPodSysctls: true}\ndefaultPodSysctls: {\"A\": \"1\", kernel.nothing: " +
			"\"1\", net.ipv4.ip_forward: \"1\", net/ipv4/ip_forward: \"1\"}\n")},
	{Name: "sysctls without their gate", Args: []string{config},
		Files: file("defaultPodSysctls: {net.ipv4.ip_forward: \"1\"}\n")},
	{Name: "taint in the file", Args: []string{config},
		Files: file("registerWithTaints: [{key: a b, effect: NoSchedule}, {key: c, effect: Never}]\n")},
	{Name: "tracing", Args: []string{config},
		Files: file("tracing: {endpoint: \"http://a:4317\", samplingRatePerMillion: -1}\n")},
	{Name: "shutdown by priority and by period", Args: []string{config},
		Files: file("shutdownGracePeriod: 10s\nshutdownGracePeriodByPodPriority: [{priority: 1, " +
			"shutdownGracePeriodSeconds: 1}]\n")},

	// More drop-ins.
	{Name: "drop-in of an unknown gate", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"featureGates: {Nope: true}\n")},
	{Name: "drop-in of a locked gate", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"featureGates: {KubeletFineGrainedAuthz: false}\n")},
	{Name: "drop-in of a gate not a bool", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"featureGates: {AllAlpha: maybe}\n")},
	{Name: "drop-in sets a gate that defaults look at", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"featureGates: {KubeletCrashLoopBackOffMax: false}\n")},
	{Name: "drop-in undoes a gate of the file", Args: []string{config, dir},
		Files: file("featureGates: {MemoryQoS: true, AllAlpha: false}\n", "conf/1.conf",
			header+"featureGates: {MemoryQoS: null}\n")},
	{Name: "flag undoes a gate of a drop-in", Args: []string{config, dir, "--feature-gates=MemoryQoS=false"},
		Files: file("", "conf/1.conf", header+"featureGates: {MemoryQoS: true}\n")},
	{Name: "drop-in within authentication", Args: []string{config, dir},
		Files: file("authentication: {anonymous: {enabled: true}, webhook: {cacheTTL: 5s}}\n", "conf/1.conf",
			header+"authentication: {webhook: {enabled: false}}\n")},
	{Name: "drop-in against validation", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"port: 99999\nreadOnlyPort: -1\n")},
	{Name: "drop-in mends the file", Args: []string{config, dir},
		Files: file("port: 99999\n", "conf/1.conf", header+"port: 5\n")},
	{Name: "drop-in of two documents", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"port: 5\n---\n"+header+"port: 6\n")},
	{Name: "drop-in in a hidden folder", Args: []string{config, dir},
		Files: file("", "conf/.hidden/1.conf", header+"port: 5\n")},
	{Name: "drop-in in capitals", Args: []string{config, dir}, Files: file("", "conf/1.CONF", header+"port: 5\n")},
	{Name: "drop-in of a number as a string", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"port: \"5\"\n")},
	{Name: "drop-in of a bad duration", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"syncFrequency: soon\n")},
	{Name: "drop-in with a list for a map", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"kubeReserved: [cpu]\n")},
	{Name: "drop-in in another case", Args: []string{config, dir},
		Files: file("port: 5\n", "conf/1.conf", header+"Port: 6\n")},
	{Name: "drop-in of eviction to merge", Args: []string{config, dir},
		Files: file("mergeDefaultEvictionSettings: true\n", "conf/1.conf",
			header+"evictionHard: {memory.available: 2Mi}\n")},
	{Name: "drop-in of a broken file among good ones", Args: []string{config, dir},
		Files: file("", "conf/1.conf", header+"port: 5\n", "conf/2.conf", "a: [\n", "conf/3.conf", header+"port: 6\n")},
	{Name: "drop-in of taints and headers", Args: []string{config, dir},
		Files: file("registerWithTaints: [{key: a, effect: NoSchedule}]\n", "conf/1.conf",
			header+"registerWithTaints: []\nstaticPodURLHeader: {A: [b]}\n")},
	{Name: "dir twice", Args: []string{"--config-dir=none", dir}, Files: files("conf/1.conf", header+"port: 5\n")},
	{Name: "config twice", Args: []string{"--config=none.yaml", config}, Files: file("port: 5\n")},
	{Name: "config is empty by flag", Args: []string{"--config="}},

	// YAML syntax.
	{Name: "two documents", Args: []string{config}, Files: file("port: 5\n---\nport: 6\n")},
	{Name: "anchors", Args: []string{config}, Files: file("kubeReserved: &r {cpu: \"1\"}\nsystemReserved: *r\n")},
	{Name: "merge key", Args: []string{config},
		Files: file("kubeReserved: &r {cpu: \"1\"}\nsystemReserved: {<<: *r, memory: 1Gi}\n")},
	{Name: "lines of Windows", Args: []string{config},
		Files: files("kubelet.yaml",
			"apiVersion: kubelet.config.k8s.io/v1beta1\r\nkind: KubeletConfiguration\r\nport: 5\r\n")},
	{Name: "byte order mark", Args: []string{config}, Files: files("kubelet.yaml", "\ufeff"+header+"port: 5\n")},
	{Name: "a tab", Args: []string{config}, Files: file("authentication:\n\tanonymous: {enabled: true}\n")},
	{Name: "number with a point", Args: []string{config}, Files: file("port: 10350.0\nmaxPods: 1e2\n")},
	{Name: "number with a fraction", Args: []string{config}, Files: file("port: 10350.5\n")},
	{Name: "number in octal and hexadecimal", Args: []string{config}, Files: file("port: 0x10\nmaxPods: 017\n")},
	{Name: "words for booleans", Args: []string{config}, Files: file("failSwapOn: no\nregisterNode: off\n")},
	{Name: "string without quotes", Args: []string{config}, Files: file("clusterDomain: 1.5\n")},
	{Name: "quantity without quotes", Args: []string{config}, Files: file("kubeReserved: {cpu: 1}\n")},
	{Name: "null in a list", Args: []string{config}, Files: file("clusterDNS: [null]\nregisterWithTaints: [null]\n")},
	{Name: "a list for a string", Args: []string{config}, Files: file("clusterDomain: [a]\n")},
	{Name: "a negative duration", Args: []string{config},
		Files: file("syncFrequency: -1s\nnodeStatusUpdateFrequency: -1s\nruntimeRequestTimeout: -1s\n")},
	{Name: "a duration as a number", Args: []string{config}, Files: file("syncFrequency: 10\n")},

	// More flags.
	{Name: "booleans in all spellings",
		Args: []string{"--anonymous-auth=T", "--enable-server=1", "--fail-swap-on=FALSE",
			"--register-node=f"}},
	{Name: "boolean in none", Args: []string{"--anonymous-auth=yes"}},
	{Name: "duration without a unit", Args: []string{"--sync-frequency=10"}},
	{Name: "empty lists and maps by flag", Args: []string{config, "--cluster-dns=", "--kube-reserved=",
		"--feature-gates=", "--eviction-hard="}, Files: file("clusterDNS: [9.9.9.9]\nkubeReserved: {cpu: \"1\"}\n")},
	{Name: "number in octal by flag", Args: []string{"--max-pods=010", "--port=0x2800"}},
	{Name: "taints by flag over the file's", Args: []string{config, "--register-with-taints=c=d:NoExecute"},
		Files: file("registerWithTaints: [{key: a, effect: NoSchedule}]\n")},
	{Name: "eviction by flag over the file's", Args: []string{config, "--eviction-hard=memory.available<5%"},
		Files: file("evictionHard: {nodefs.available: 5%}\n")},
	// Four alpha gates need GenericWorkload. Without it the kubelet would return an error that names these gates in
	// random order.
	{Name: "all gates of a stage", Args: []string{"--feature-gates=AllAlpha=true,GenericWorkload=true"}},
	{Name: "no gates of a stage", Args: []string{"--feature-gates=AllBeta=false"}},
	{Name: "all gates of a stage in the file", Args: []string{config},
		Files: file("featureGates: {AllAlpha: true, GenericWorkload: true, MemoryQoS: false}\n")},

	// More validation.
	{Name: "eviction soft", Args: []string{config},
		Files: file("evictionSoft: {memory.available: 1Gi}\nevictionSoftGracePeriod: {memory.available: " +
			"1m}\nevictionMaxPodGracePeriod: 7\nevictionMinimumReclaim: {nodefs.available: 1Gi}\n")},
	{Name: "eviction that cannot be", Args: []string{config},
		Files: file("evictionHard: {memory.available: 200%, nope: \"1\", nodefs.available: x}\n")},
	{Name: "reserved quantities that cannot be", Args: []string{config},
		Files: file("kubeReserved: {cpu: x, nope: \"1\"}\nsystemReserved: {memory: -1Gi}\n")},
	{Name: "sizes that cannot be", Args: []string{config},
		Files: file("containerLogMaxSize: x\nclusterDNS: [x]\nclusterDomain: a b\naddress: x\n" +
			"healthzBindAddress: x\n")},
	{Name: "policies that cannot be", Args: []string{config},
		Files: file("cpuManagerPolicy: x\nmemoryManagerPolicy: x\nsingleProcessOOMKill: " +
			"true\nimagePullCredentialsVerificationPolicy: NeverVerify\npreloadedImagesVerificationAllowlist: [a]\n")},
	{Name: "thresholds that cross", Args: []string{config},
		Files: file("imageGCHighThresholdPercent: 50\nimageGCLowThresholdPercent: 60\n")},
	{Name: "TLS words that are found later", Args: []string{config},
		Files: file("tlsMinVersion: x\ntlsCipherSuites: [y]\n")},
}
