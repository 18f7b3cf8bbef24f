package symptoms

// handlerErrors are error responses of the kubelet to authorized requests.
var handlerErrors = []Symptom{
	{
		ID:    "waiting-to-start",
		Texts: []string{`container "…" in pod "…" is waiting to start: …`},
		pattern: `container "(?P<container>[^"]*)" in pod "(?P<pod>[^"]*)" is waiting to start(?:: ` +
			`(?P<reason>[^\n]*)| - no logs yet)?`,
		Meaning: "the request reached the kubelet; the container has not started yet, so it has no log",
		Causes: []Cause{
			{
				Cause:  "its image cannot be pulled",
				Check:  "the reason is ErrImagePull, ImagePullBackOff, or: trying and failing to pull image",
				Remedy: "correct the image's name, or imagePullSecrets",
			},
			{
				Cause:  "a volume, a Secret or a ConfigMap is missing, or an init container still runs",
				Check:  "the reason is ContainerCreating or PodInitializing; kubectl describe pod",
				Remedy: "see the pod's events",
			},
		},
		Next:  []string{"kubectl describe pod {pod}", "kubectl get events --field-selector involvedObject.name={pod}"},
		Proof: ofKubectl,
	},
	{
		ID:      "no-previous-container",
		Texts:   []string{`previous terminated container "…" in pod "…" not found`},
		pattern: `previous terminated container "(?P<container>[^"]*)" in pod "(?P<pod>[^"]*)" not found`,
		Meaning: "the request is for the log before the last restart (--previous), but there was no restart, " +
			"or that container was removed",
		Causes: []Cause{
			{
				Cause:  "the container runs for the first time",
				Check:  "kubectl get pod shows no restarts",
				Remedy: "omit --previous",
			},
			{
				Cause:  "the node removed the container (garbage collection), or the pod moved to another node",
				Check:  "restarts are counted, but there is no log",
				Remedy: "use a log collector",
			},
		},
		Next:  []string{"kubectl get pod {pod}"},
		Proof: ofKubectl,
	},
	{
		ID: "unavailable",
		Texts: []string{
			"the server is currently unable to handle the request ( pods/log …)",
			"unable to upgrade connection: Service Unavailable",
		},
		pattern: `the server is currently unable to handle the request \( ?pods/log[^)\n]*\)|` +
			`unable to upgrade connection: Service Unavailable`,
		Meaning: "a server in front of the kubelet answered kube-apiserver with 503, Service Unavailable",
		Causes: []Cause{
			{
				Cause:  "a load balancer, a proxy or a tunnel on the way has no backend",
				Check:  "the kubelet does not receive the request",
				Remedy: "check the tunnel's agent on the node, or the load balancer's backends",
			},
			{
				Cause:  "the kubelet, or the container runtime behind it, is starting or overloaded",
				Check:  "it passes; crictl logs on the node shows the same",
				Remedy: "wait; then see journalctl -u kubelet, and the runtime's log",
			},
			{
				Cause:  "a stand-in kubelet has an injected fault",
				Check:  "fauxlet fault list",
				Remedy: "fauxlet fault clear",
			},
		},
		Next:  []string{"kubectl get nodes -o wide", "kubectl get --raw /api/v1/nodes/NODE/proxy/healthz", checkReach},
		Proof: ofFaults,
	},
	{
		ID:      "stream-timeout",
		Texts:   []string{"Internal error occurred: Timeout occurred"},
		pattern: `Timeout occurred`,
		Meaning: "the connection for exec, attach or port-forward was opened, but nothing was received on it for 30 s",
		Causes: []Cause{
			{
				Cause:  "the node became unreachable, or packets to it are lost",
				Check:  "kubectl get nodes shows NotReady",
				Remedy: "repair the node, or the network",
			},
			{
				Cause:  "a proxy on the way forwards the response to the upgrade, but no data after it",
				Check:  "kubectl logs works, exec never does",
				Remedy: "configure it to forward upgraded connections, or bypass it for the nodes",
			},
			{
				Cause:  "the container runtime hangs",
				Check:  "crictl exec on the node hangs too",
				Remedy: "see journalctl -u containerd",
			},
		},
		Next: []string{
			"kubectl get nodes -o wide",
			"kubectl logs POD --tail=1",
			"fauxlet check --kubeconfig admin.conf --only streams",
		},
		Proof: ofFaults,
	},
	{
		ID:    "no-such-container",
		Texts: []string{`container … is not valid for pod …`, `container not found ("…")`},
		pattern: `container (?P<container>\S+) is not valid for pod (?P<pod>\S+)(?: out of: (?P<others>[^\n]*))?|` +
			`container not found \("(?P<missing>[^"]*)"\)|a container name must be specified for pod [^\n]*`,
		Meaning: "the pod has no such container, or it does not run",
		Causes: []Cause{
			{
				Cause:  "the container has another name",
				Check:  "kubectl get pod -o jsonpath='{.spec.containers[*].name}'",
				Remedy: "use -c with one of these names",
			},
			{
				Cause:  "the container has terminated, and exec requires a running one",
				Check:  "kubectl get pod",
				Remedy: "use kubectl debug, or wait until it restarts",
			},
		},
		Next:  []string{"kubectl get pod POD -o jsonpath='{.spec.initContainers[*].name} {.spec.containers[*].name}'"},
		Proof: ofKubectl,
	},
	{
		ID:    "pod-does-not-exist",
		Texts: []string{"pod does not exist", "the server could not find the requested resource ( pods/log …)"},
		pattern: `pod (?:"[^"]*" )?does not exist|pod not found(?: \("[^"]*"\))?|` +
			`the server could not find the requested resource \( ?(?P<resource>[\w./]+)[^)\n]*\)`,
		Meaning: "the kubelet that answered does not have the pod that kube-apiserver has",
		Causes: []Cause{
			{
				Cause:  "another kubelet answers: two nodes have the same address, or the name resolves to another node",
				Check:  "kubectl get nodes -o wide lists an address twice",
				Remedy: "give each node its own address",
			},
			{
				Cause:  "the pod was just bound to the node, or just removed from it",
				Check:  "it passes",
				Remedy: "wait a moment",
			},
			{
				Cause:  "the kubelet was started with another --hostname-override, or without an apiserver",
				Check:  "its pods: kubectl get --raw /api/v1/nodes/NODE/proxy/pods",
				Remedy: "correct --hostname-override and --kubeconfig",
			},
		},
		Next: []string{
			"kubectl get nodes -o wide",
			"kubectl get pod POD -o wide",
			"kubectl get --raw /api/v1/nodes/NODE/proxy/pods | jq -r '.items[].metadata.name'",
		},
		Proof: ofKubectl,
	},
	{
		ID:      "not-served",
		Texts:   []string{"404 page not found", "404: Page Not Found"},
		pattern: `404 page not found|404: Page Not Found`,
		Meaning: "the kubelet serves nothing at that path. On the secure port it answers 404 page not found " +
			"before authentication, and 404: Page Not Found after it",
		Causes: []Cause{
			{
				Cause: "the path is misspelled, or was removed: /spec/ no longer exists; runningpods is " +
					"lower case and ends with a slash",
				Check:  "fauxlet explain with the path",
				Remedy: "correct the path",
			},
			{
				Cause:  "the path depends on a feature gate or a field of the configuration",
				Check:  "the kubelet's /configz",
				Remedy: "enableDebuggingHandlers, enableSystemLogHandler, featureGates",
			},
		},
		Next:  []string{"fauxlet explain --config kubelet.yaml PATH"},
		Proof: ofKubelets,
	},
	{
		ID: "handlers-off",
		Texts: []string{
			"Debug endpoints are disabled.",
			"the server does not allow this method on the requested resource",
		},
		pattern: `Debug endpoints are disabled\.?|` +
			`the server does not allow this method on the requested resource[^\n]*|(?:logs|profiling|` +
			`flags) endpoint is disabled\.`,
		Meaning: "the kubelet's configuration disables this endpoint (405)",
		Causes: []Cause{
			{
				Cause:  "enableDebuggingHandlers is false: no logs, no exec, no port-forward",
				Check:  "the kubelet's /configz, or its flag --enable-debugging-handlers",
				Remedy: "enableDebuggingHandlers: true",
			},
			{
				Cause:  "the request was sent to the read-only port",
				Check:  "the port is 10255",
				Remedy: "use port 10250",
			},
		},
		Next: []string{
			"grep enableDebuggingHandlers /var/lib/kubelet/config.yaml",
			"fauxlet explain --config kubelet.yaml /containerLogs/NAMESPACE/POD/CONTAINER",
		},
		Proof: ofKubectl,
	},
	{
		ID:      "unknown-upgrade",
		Texts:   []string{"unable to upgrade connection: …"},
		pattern: `unable to upgrade connection: (?P<answer>[^\n\x00]+)`,
		Meaning: "kube-apiserver requested a stream from the kubelet, and the kubelet answered: {answer}",
		Causes: []Cause{
			{
				Cause:  "see the kubelet's answer",
				Check:  "the text after: unable to upgrade connection",
				Remedy: "see the kubelet's answer",
			},
		},
		Next:  []string{"kubectl logs POD", "fauxlet check --kubeconfig admin.conf"},
		Proof: ofKubectl,
	},
	{
		ID:    "no-metrics",
		Texts: []string{"error: Metrics API not available", "no metrics to serve"},
		pattern: `Metrics API not available|no metrics to serve|` +
			`the server is currently unable to handle the request \(get (?:nodes|pods)\.metrics\.k8s\.io\)`,
		Meaning: "metrics-server is not installed, or has not scraped any node yet. Its log shows the reason",
		Causes: []Cause{
			{
				Cause:  "metrics-server is not installed",
				Check:  "kubectl get apiservice v1beta1.metrics.k8s.io prints NotFound",
				Remedy: "install it",
			},
			{
				Cause:  "it does not reach the kubelets, or does not trust them",
				Check:  "its log contains: Failed to scrape node",
				Remedy: "pass that line to fauxlet explain --error",
			},
			{
				Cause:  "it has been running for less than two scrape intervals",
				Check:  "its log contains no error",
				Remedy: "wait a minute",
			},
		},
		Next: []string{
			"kubectl get apiservice v1beta1.metrics.k8s.io",
			"kubectl -n kube-system logs deploy/metrics-server | fauxlet explain --error -",
		},
		Reports: []string{"https://github.com/kubernetes-sigs/metrics-server/issues/1282"},
		Proof:   ofKubectl,
	},
}
