package symptoms

// networkErrors occur before a TLS connection to the kubelet exists.
var networkErrors = []Symptom{
	{
		ID:      "connection-refused",
		Texts:   []string{"dial tcp …:10250: connect: connection refused"},
		pattern: `dial tcp ` + address + `: (?:connect|getsockopt): connection refused`,
		Meaning: "there is a machine at {address}, but nothing listens on that port",
		Causes: []Cause{
			{
				Cause:  "the kubelet does not run",
				Check:  "kubectl get nodes shows NotReady; on the node: systemctl status kubelet",
				Remedy: "start it; journalctl -u kubelet shows why it stopped",
			},
			{
				Cause:  "the Node object contains another port or address than the kubelet's",
				Check:  "status.daemonEndpoints and status.addresses differ from the output of ss -ltnp on the node",
				Remedy: "correct the kubelet's port, address or --node-ip",
			},
			{
				Cause:  "the kubelet listens on the loopback address only",
				Check:  "ss -ltnp on the node shows 127.0.0.1:10250",
				Remedy: "set address: 0.0.0.0 in KubeletConfiguration",
			},
			{
				Cause:  "a scraper still uses the read-only port",
				Check:  "the port is 10255",
				Remedy: "use port 10250 with a token: readOnlyPort is 0 by default",
			},
		},
		Next:    []string{"kubectl get nodes -o wide", showNode, "ssh NODE ss -ltnp", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/40817"},
		Proof:   ofGo,
	},
	{
		ID:    "timeout",
		Texts: []string{"dial tcp …:10250: i/o timeout", "net/http: TLS handshake timeout"},
		pattern: `dial tcp ` + address + `: (?:i/o timeout|(?:connect|getsockopt): connection timed out)|` +
			`net/http: TLS handshake timeout|` +
			`context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)`,
		Meaning: "no response from {address}: packets are lost on the way, or the program there does not read them",
		Causes: []Cause{
			{
				Cause:  "a firewall, a security group or a NetworkPolicy drops packets to port 10250",
				Check:  "nc -vz from kube-apiserver's machine times out; ping may work",
				Remedy: "allow TCP 10250 to the nodes, from the control plane and from the scrapers",
			},
			{
				Cause: "kube-apiserver has no route to the Node's address (behind NAT, or on another network " +
					"interface)",
				Check:  "another address in status.addresses is reachable",
				Remedy: "set the kubelet's --node-ip, or kube-apiserver's --kubelet-preferred-address-types",
			},
			{
				Cause:  "the node hangs, or is gone",
				Check:  "kubectl get nodes shows NotReady, and its Lease is old",
				Remedy: "repair the node",
			},
		},
		Next:    []string{showNode, "nc -vz -w 3 HOST 10250", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/107186"},
		Proof:   ofGo,
	},
	{
		ID:      "no-route",
		Texts:   []string{"dial tcp …:10250: connect: no route to host"},
		pattern: `dial tcp ` + address + `: (?:connect|getsockopt): (?:no route to host|network is unreachable)`,
		Meaning: "kube-apiserver's machine has no route to {address}, or a router on the way reports that " +
			"there is none",
		Causes: []Cause{
			{
				Cause:  "the node is off, or has another address now",
				Check:  "kubectl get nodes shows NotReady; ping fails",
				Remedy: "start the node, or correct status.addresses",
			},
			{
				Cause:  "the node's firewall rejects port 10250 with an ICMP message",
				Check:  "ping works; firewalld or iptables on the node has a REJECT rule",
				Remedy: "firewall-cmd --permanent --add-port=10250/tcp && firewall-cmd --reload",
			},
			{
				Cause:  "a route between the two networks is missing",
				Check:  "ip route get ADDRESS fails on kube-apiserver's machine",
				Remedy: "add the route, or prefer another address type with --kubelet-preferred-address-types",
			},
		},
		Next:    []string{showNode, "ip route get HOST", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/62511"},
		Proof:   ofKubectl,
	},
	{
		ID:    "no-such-host",
		Texts: []string{"dial tcp: lookup node-1 on …: no such host"},
		pattern: `dial tcp: lookup (?P<host>[^\s:]+)(?: on (?P<resolver>\S+))?: (?:no such host|server misbehaving|` +
			`Temporary failure in name resolution|i/o timeout)[^\n"]*`,
		Meaning: "the client connects to nodes by name, and DNS has no address for {host}",
		Causes: []Cause{
			{
				Cause: "kube-apiserver prefers the Node's Hostname, which is its default",
				Check: "--kubelet-preferred-address-types is not among kube-apiserver's flags",
				Remedy: "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname; metrics-server " +
					"has the same flag",
			},
			{
				Cause:  "the Node has no address except its name",
				Check:  "status.addresses contains only the type Hostname",
				Remedy: "set the kubelet's --node-ip",
			},
			{
				Cause:  "node names should be in DNS, but this one is not",
				Check:  "host {host} fails on kube-apiserver's machine",
				Remedy: "add the DNS record, or an entry in /etc/hosts on kube-apiserver's machine",
			},
		},
		Next: []string{
			showNode,
			"host {host}",
			"fauxlet check --kubeconfig admin.conf --only reach.usual,reach.order,reach.names",
		},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/22770"},
		Proof:   ofGo,
	},
	{
		ID:      "no-preferred-addresses",
		Texts:   []string{"no preferred addresses found; known addresses: []"},
		pattern: `no preferred addresses found; known addresses: (?P<known>\[[^\n]*\])`,
		Meaning: "the Node has no address of a preferred type. It has {known}",
		Causes: []Cause{
			{
				Cause: "the kubelet has not reported its addresses yet, or a cloud provider has to do so",
				Check: "status.addresses is empty; the Node has the taint " +
					"node.cloudprovider.kubernetes.io/uninitialized",
				Remedy: "run the cloud-controller-manager, or use --node-ip without --cloud-provider=external",
			},
			{
				Cause:  "--kubelet-preferred-address-types contains only types that the Node does not have",
				Check:  "status.addresses contains other types",
				Remedy: "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
			},
		},
		Next:    []string{showNode, "fauxlet check --kubeconfig admin.conf --only reach.usual,reach.order"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/45583"},
		Proof:   ofKubectl,
	},
	{
		ID:      "address-not-allowed",
		Texts:   []string{"address not allowed"},
		pattern: `address not allowed`,
		Meaning: "kube-apiserver's proxy to nodes and pods never connects to loopback and link-local addresses",
		Causes: []Cause{
			{
				Cause:  "the Node's address is 127.0.0.1, because everything runs on one machine",
				Check:  "status.addresses contains it; kubectl logs works, because it does not use the proxy",
				Remedy: "set the kubelet's --node-ip to an address of the machine that is not loopback",
			},
			{
				Cause:  "the Node's name resolves to 127.0.0.1 or 127.0.1.1",
				Check:  "getent hosts NODE on kube-apiserver's machine",
				Remedy: "correct /etc/hosts there, or set --kubelet-preferred-address-types=InternalIP",
			},
		},
		Next:  []string{showNode, "getent hosts NODE"},
		Proof: ofKubectl,
	},
	{
		ID:    "proxy-refuses",
		Texts: []string{`Get "https://…:10250/…": Forbidden`},
		pattern: `(?:Get|Post) "?https://` + address +
			`/[^"\s]*"?: (?:Forbidden|Bad Gateway|Service Unavailable|Proxy Authentication Required)`,
		Meaning: "an HTTP proxy refused to connect to {address}, so the request did not reach a kubelet",
		Causes: []Cause{
			{
				Cause:  "kube-apiserver runs with HTTPS_PROXY, and NO_PROXY does not contain the nodes",
				Check:  "the environment of its process or static pod",
				Remedy: "add the nodes' network to NO_PROXY",
			},
			{
				Cause: "the distribution (k3s, for example) reaches nodes through a tunnel, and this node is " +
					"not connected to it",
				Check:  "the logs of the server and of the node's agent",
				Remedy: "restart the agent and check that it reaches the server; on k3s see --egress-selector-mode",
			},
		},
		Next: []string{
			"kubectl -n kube-system get pod -l component=kube-apiserver -o yaml | grep -i -A1 proxy",
			"tr '\\0' '\\n' </proc/$(pgrep kube-apiserver)/environ | grep -i proxy",
		},
		Reports: []string{
			"https://github.com/k3s-io/k3s/issues/6123",
			"https://github.com/kubernetes/kubernetes/issues/98852",
		},
		Proof: ofGo,
	},
}
