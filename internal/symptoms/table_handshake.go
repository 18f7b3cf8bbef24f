package symptoms

import "fauxlet/internal/tlserror"

// handshakeErrors are errors of the TLS handshake and of established connections.
var handshakeErrors = []Symptom{
	{
		ID:    "no-serving-certificate",
		Texts: []string{"TLS handshake error from …: no serving certificate available for the kubelet"},
		pattern: `(?:TLS handshake error from ` + address +
			`: )?no (?:serving )?certificate available(?: for the kubelet)?`,
		Meaning: "the kubelet uses serverTLSBootstrap, and its certificate has not been issued yet; clients " +
			"report: remote error: tls: internal error",
		Causes: []Cause{
			{
				Cause:  "the request is not approved: kube-controller-manager never approves serving certificates",
				Check:  "kubectl get csr shows it as Pending",
				Remedy: "kubectl certificate approve NAME, or install a controller that approves them",
			},
			{
				Cause: "the request was denied, or signing failed",
				Check: "kubectl get csr shows Denied, Failed, or Approved without Issued",
				Remedy: "kubectl describe csr; --cluster-signing-cert-file and --cluster-signing-key-file of " +
					"kube-controller-manager",
			},
			{
				Cause:  "the kubelet may not create the request",
				Check:  "its log contains: certificatesigningrequests is forbidden",
				Remedy: "its credential must be a node's: user system:node:NODE, group system:nodes",
			},
		},
		Next: []string{
			"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving",
			"kubectl certificate approve NAME",
		},
		Reports: []string{
			"https://github.com/kubernetes/kubeadm/issues/591",
			"https://github.com/kubernetes/kubernetes/issues/73356",
		},
		Proof: ofGo,
	},
	{
		ID:      "internal-error",
		Texts:   []string{"remote error: tls: internal error"},
		pattern: tlserror.Pattern(tlserror.InternalError),
		Meaning: "the kubelet ended the handshake because it has no serving certificate",
		Causes: []Cause{
			{
				Cause: "serverTLSBootstrap is true, and the kubelet's request is not approved",
				Check: "kubectl get csr shows it as Pending; the kubelet's log contains: no serving " +
					"certificate available for the kubelet",
				Remedy: "kubectl certificate approve NAME",
			},
			{
				Cause:  "the request was denied, or not signed",
				Check:  "kubectl get csr shows Denied, or Approved without Issued",
				Remedy: "kubectl describe csr NAME",
			},
		},
		Next: []string{
			"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving",
			"kubectl certificate approve NAME",
			"fauxlet check --kubeconfig admin.conf --approve-serving-certificate --only serving.accepted",
		},
		Reports: []string{
			"https://github.com/kubernetes/kubeadm/issues/591",
			"https://github.com/kubernetes/kubernetes/issues/73356",
		},
		Proof: ofGo,
	},
	{
		ID:    "bad-certificate",
		Texts: []string{"TLS handshake error from …: remote error: tls: bad certificate"},
		pattern: `(?:TLS handshake error from ` + address + `: )?` +
			tlserror.Pattern(tlserror.UnknownAuthority, tlserror.ExpiredCertificate, tlserror.BadCertificate),
		Meaning: "in a kubelet's log: its client does not accept the kubelet's serving certificate. The " +
			"client's own error states the reason",
		Causes: []Cause{
			{
				Cause: "the client does not trust the certificate's CA, or the certificate is not valid for " +
					"the address that the client uses",
				Check:  "kubectl logs, or the log of the client at {address}, contains: x509: …",
				Remedy: "see the client's error, and pass it to fauxlet explain --error",
			},
			{
				Cause:  "the line is about a client certificate, and a server reported it to its client",
				Check:  "kube-apiserver or a scraper wrote the line",
				Remedy: "the same, on the other side",
			},
		},
		Next:    []string{"kubectl logs POD", "fauxlet explain --error \"$(kubectl logs POD 2>&1)\"", checkServing},
		Reports: []string{"https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/358"},
		Proof:   ofGo,
	},
	{
		ID:    "handshake-eof",
		Texts: []string{"TLS handshake error from …: EOF"},
		pattern: `TLS handshake error from ` + address + `: (?:read tcp [^\n]*: (?:read: )?)?` +
			tlserror.Pattern(tlserror.ConnectionClosed, tlserror.ConnectionReset),
		Meaning: "the client at {address} closed the connection during the handshake",
		Causes: []Cause{
			{
				Cause:  "a load balancer or a monitor checks whether the port is open",
				Check:  "the address is its own, and the lines appear at regular intervals",
				Remedy: "ignore it, or let it check /healthz",
			},
			{
				Cause:  "the client ran into its own timeout",
				Check:  "the client's log at that time",
				Remedy: "give the node enough CPU for handshakes",
			},
		},
		Next:  []string{"fauxlet watch"},
		Proof: ofGo,
	},
	{
		ID:      "http-to-https",
		Texts:   []string{"Client sent an HTTP request to an HTTPS server."},
		pattern: `(?i)` + tlserror.Pattern(tlserror.PlainHTTP) + `|malformed HTTP response "\\x15\\x03[^\n]*`,
		Meaning: "a client sent plain HTTP to the kubelet's secure port",
		Causes: []Cause{
			{
				Cause:  "the client uses http:// instead of https://",
				Check:  "its configuration: the scheme in Prometheus, or of a probe",
				Remedy: "use https, and a credential: port 10250 authenticates every request",
			},
			{
				Cause:  "the request was meant for the read-only port",
				Check:  "it requests /metrics or /pods without a credential",
				Remedy: "use port 10250 with a token, or readOnlyPort: 10255, which serves the node's pods to everyone",
			},
		},
		Next:  []string{"curl -k https://{address}/healthz", probe},
		Proof: ofGo,
	},
	{
		ID:      "https-to-http",
		Texts:   []string{"http: server gave HTTP response to HTTPS client"},
		pattern: `http: server gave HTTP response to HTTPS client|` + tlserror.Pattern(tlserror.NotTLS),
		Meaning: "a client sent TLS to a port that serves plain HTTP",
		Causes: []Cause{
			{
				Cause:  "the port is the read-only port (10255) or the healthz port (10248)",
				Check:  "the port in the address",
				Remedy: "use port 10250, or http://",
			},
			{
				Cause:  "the Node object contains the wrong port",
				Check:  "status.daemonEndpoints.kubeletEndpoint.Port is not the kubelet's port",
				Remedy: "correct the kubelet's port",
			},
			{
				Cause:  "another program uses the port",
				Check:  "curl with http:// shows which one",
				Remedy: "stop that program, or change its port",
			},
		},
		Next:  []string{showNode, "curl -i http://HOST:PORT/"},
		Proof: ofGo,
	},
	{
		ID:      "protocol-version",
		Texts:   []string{"remote error: tls: protocol version not supported"},
		pattern: tlserror.Pattern(tlserror.UnsupportedVersion, tlserror.NoCipherSuite) + `(?:: \[[^\n"]*)?`,
		Meaning: "client and kubelet have no TLS version, or no cipher suite, in common",
		Causes: []Cause{
			{
				Cause:  "the kubelet's tlsMinVersion is higher than the client's newest version",
				Check:  "tlsMinVersion: VersionTLS13 and an old client",
				Remedy: "tlsMinVersion: VersionTLS12, or a newer client",
			},
			{
				Cause: "the kubelet's tlsCipherSuites contains none of the client's, or none for the " +
					"certificate's type of key",
				Check:  "tlsCipherSuites is set",
				Remedy: "remove it, or list ECDHE suites for RSA and ECDSA",
			},
		},
		Next: []string{
			"openssl s_client -connect {address} -tls1_2 </dev/null",
			"fauxlet check --kubeconfig admin.conf --only tls",
			probe,
		},
		Proof: ofGo,
	},
	{
		ID:      "connection-reset",
		Texts:   []string{"read: connection reset by peer"},
		pattern: `connection reset by peer`,
		Meaning: "the connection was reset",
		Causes: []Cause{
			{
				Cause:  "a firewall or a load balancer resets it, either at once or after an idle time",
				Check:  "at once: every request fails; idle time: kubectl logs -f of a quiet container fails",
				Remedy: "change the firewall; for an idle time, raise its timeout",
			},
			{
				Cause:  "the kubelet was stopped or killed",
				Check:  "kubectl get nodes; journalctl -u kubelet",
				Remedy: "restart the kubelet",
			},
		},
		Next:  []string{checkReach, "journalctl -u kubelet --since -10min"},
		Proof: ofGo,
	},
	{
		ID:      "eof",
		Texts:   []string{`Get "https://…:10250/…": EOF`, `unexpected EOF`},
		pattern: `https?://` + address + `/[^"\s]*"?: (?:EOF|http: server closed idle connection)|unexpected EOF`,
		Meaning: "the connection ended before the response was complete",
		Causes: []Cause{
			{
				Cause:  "the kubelet, or the program behind it, stopped during the request",
				Check:  "journalctl -u kubelet at that time; kubectl get nodes",
				Remedy: "restart the kubelet",
			},
			{
				Cause:  "a proxy or another device on the way closes connections",
				Check:  "it happens at the same size or after the same time",
				Remedy: "change that device",
			},
		},
		Next:  []string{"journalctl -u kubelet --since -10min", checkReach},
		Proof: ofGo,
	},
}
