package symptoms

// servingErrors are a client's errors about the kubelet's serving certificate.
var servingErrors = []Symptom{
	{
		ID: "weak-signature",
		Texts: []string{
			`x509: certificate signed by unknown authority (possibly because of "x509: cannot verify ` +
				`signature: insecure algorithm …"`,
		},
		pattern: `x509: certificate signed by unknown authority \(possibly because of "x509: cannot verify ` +
			`signature: insecure algorithm (?P<algorithm>[\w-]+)[^\n]*|` +
			`x509: cannot verify signature: insecure algorithm (?:[\w-]+)`,
		Meaning: "the kubelet's serving certificate is signed with {algorithm}, which is no longer accepted",
		Causes: []Cause{
			{
				Cause:  "it is old, or made with a tool that uses SHA-1 by default",
				Check:  "openssl x509 -noout -text prints sha1With… or ecdsa-with-SHA1",
				Remedy: "issue it again with SHA-256; do the same with the CA if it has such a signature",
			},
		},
		Next:  []string{showServing, checkServing},
		Proof: ofGo,
	},
	{
		ID: "unknown-authority-other-key",
		Texts: []string{
			`x509: certificate signed by unknown authority (possibly because of "…" while trying to verify ` +
				`candidate authority certificate "…")`,
		},
		pattern: `x509: certificate signed by unknown authority \(possibly because of "[^"\n]*verification ` +
			`(?:failure|error)" while trying to verify candidate authority certificate "(?P<ca>[^"\n]*)"\)`,
		Meaning: `the client trusts a CA named "{ca}", but that CA's key did not make this signature: there ` +
			`are two CAs with this name`,
		Causes: []Cause{
			{
				Cause: "the CA was created again, and one side still has the old one",
				Check: "openssl x509 -noout -fingerprint prints different values for the two files",
				Remedy: "use one CA on both sides: in kube-apiserver's --kubelet-certificate-authority, and " +
					"for a new serving certificate of the kubelet",
			},
		},
		Next:  []string{showServing, "openssl x509 -in ca.crt -noout -subject -fingerprint"},
		Proof: ofGo,
	},
	{
		ID:      "unknown-authority",
		Texts:   []string{"x509: certificate signed by unknown authority"},
		pattern: `x509: certificate signed by unknown authority`,
		Meaning: "the client does not trust the CA of the serving certificate: it is not in " +
			"--kubelet-certificate-authority",
		Causes: []Cause{
			{
				Cause: "the kubelet serves a self-signed certificate, which is its default",
				Check: "the issuer is NODE-ca@TIME",
				Remedy: "set serverTLSBootstrap: true and run kubectl certificate approve, or set " +
					"tlsCertFile and tlsPrivateKeyFile to a pair of your CA",
			},
			{
				Cause: "--kubelet-certificate-authority is another CA than the kubelets'",
				Check: "the issuer is another CA of yours",
				Remedy: "set --kubelet-certificate-authority=ca.crt to the CA that signed it; the file may " +
					"contain several",
			},
			{
				Cause: "the certificate was issued by an intermediate CA, and tlsCertFile does not contain " +
					"that CA's certificate",
				Check:  "the issuer is an intermediate CA; -showcerts prints one certificate",
				Remedy: "append the intermediate CA's certificate to tlsCertFile",
			},
		},
		Next:    []string{showServing, "openssl verify -CAfile ca.crt kubelet.crt", checkServing, probe},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/14097"},
		Proof:   ofGo,
	},
	{
		ID:      "no-ip-sans",
		Texts:   []string{"x509: cannot validate certificate for … because it doesn't contain any IP SANs"},
		pattern: `x509: cannot validate certificate for (?P<host>[^\s]+) because it doesn't contain any IP SANs`,
		Meaning: "the client connects to the IP address {host}, but the kubelet's serving certificate " +
			"contains no IP address",
		Causes: []Cause{
			{
				Cause: "the kubelet serves a self-signed certificate, which contains only its host name",
				Check: "the issuer is NODE-ca@TIME",
				Remedy: "set serverTLSBootstrap: true and run kubectl certificate approve; that certificate " +
					"contains the Node's addresses",
			},
			{
				Cause:  "the certificate was made without the address",
				Check:  "subjectAltName contains only DNS entries",
				Remedy: "issue it again with the subject alternative name IP:{host}",
			},
			{
				Cause:  "clients should connect to nodes by name",
				Check:  "the certificate contains the Node's name",
				Remedy: "--kubelet-preferred-address-types=Hostname,InternalIP, if DNS resolves the names",
			},
		},
		Next: []string{
			"openssl s_client -connect {host}:10250 </dev/null 2>/dev/null | openssl x509 -noout -issuer " +
				"-ext subjectAltName",
			"fauxlet certs server NODE --dir pki --host {host}",
			checkServing,
		},
		Reports: []string{
			"https://github.com/kubernetes/kubernetes/issues/62939",
			"https://github.com/kubernetes-sigs/metrics-server/issues/196",
			"https://github.com/kubernetes-sigs/metrics-server/issues/1588",
		},
		Proof: ofGo,
	},
	{
		ID:    "common-name-alone",
		Texts: []string{"x509: certificate relies on legacy Common Name field, use SANs instead"},
		pattern: `x509: certificate relies on legacy Common Name field, use SANs(?: or temporarily enable Common ` +
			`Name matching[^\n"]*| instead)?`,
		Meaning: "the serving certificate has no subject alternative name, only a common name, which Go " +
			"ignores since version 1.15",
		Causes: []Cause{
			{
				Cause:  "it was made with -subj /CN=NODE only",
				Check:  "openssl x509 -noout -ext subjectAltName prints nothing",
				Remedy: "issue it again with subjectAltName=DNS:NODE,IP:ADDRESS",
			},
		},
		Next:  []string{showServing, "fauxlet certs server NODE --dir pki --host NODE --host ADDRESS"},
		Proof: ofGo,
	},
	{
		ID:    "wrong-name",
		Texts: []string{"x509: certificate is valid for …, not …"},
		pattern: `x509: certificate is (?:valid for (?P<valid>[^\n"]*?)|` +
			`not valid for any names, but wanted to match|` +
			`not valid for any names), ?(?:not )?(?P<host>[\w.:-]+)`,
		Meaning: "the serving certificate is valid for {valid}, but the client connects to {host}",
		Causes: []Cause{
			{
				Cause: "the node's address or name has changed since the certificate was issued",
				Check: "{host} is in status.addresses, but not in the certificate",
				Remedy: "with serverTLSBootstrap, a request for a new one is pending: kubectl get csr, " +
					"kubectl certificate approve; otherwise issue it again",
			},
			{
				Cause:  "the certificate was copied to several nodes",
				Check:  "it is valid for another node's name",
				Remedy: "issue one certificate per node",
			},
			{
				Cause:  "the kubelet serves its client certificate (system:node:NODE)",
				Check:  "the subject is system:node:NODE, and there is no subject alternative name",
				Remedy: "set tlsCertFile to a serving certificate",
			},
		},
		Next: []string{
			showServing,
			showNode,
			"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving",
		},
		Reports: []string{"https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/146"},
		Proof:   ofGo,
	},
	{
		ID:      "not-yet-valid",
		Texts:   []string{"x509: certificate has expired or is not yet valid: current time … is before …"},
		pattern: `x509: certificate has expired or is not yet valid: current time (?P<now>\S+) is before (?P<begins>[^\s"]+)`,
		Meaning: "the serving certificate becomes valid at {begins}, but the client's clock shows {now}",
		Causes: []Cause{
			{
				Cause:  "the client's clock is slow, or the clock was fast where the certificate was issued",
				Check:  "compare date on both machines",
				Remedy: "set up time synchronization: chrony, systemd-timesyncd",
			},
			{
				Cause:  "the certificate is meant for later",
				Check:  "notBefore is intended",
				Remedy: "wait, or issue another one",
			},
		},
		Next:  []string{showServing, "timedatectl"},
		Proof: ofGo,
	},
	{
		ID:    "expired",
		Texts: []string{"x509: certificate has expired or is not yet valid: current time … is after …"},
		pattern: `x509: certificate has expired or is not yet valid(?:: current time (?P<now>\S+) is after ` +
			`(?P<ended>[^\s"]+))?`,
		Meaning: "the kubelet's serving certificate, or a CA of its chain, has expired",
		Causes: []Cause{
			{
				Cause:  "with serverTLSBootstrap, the request for the next certificate waits for approval",
				Check:  "kubectl get csr lists Pending requests of that node",
				Remedy: "kubectl certificate approve NAME",
			},
			{
				Cause: "a certificate that was made manually, or the self-signed one, is a year old",
				Check: "notAfter; the issuer",
				Remedy: "issue it again: the kubelet reloads tlsCertFile without a restart. For a " +
					"self-signed pair delete kubelet.crt and kubelet.key, and restart the kubelet",
			},
			{
				Cause:  "the client's clock is fast",
				Check:  "compare date on both machines",
				Remedy: "set up time synchronization",
			},
		},
		Next: []string{
			showServing,
			"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving",
			checkServing,
		},
		Proof: ofGo,
	},
	{
		ID:      "wrong-usage",
		Texts:   []string{"x509: certificate specifies an incompatible key usage"},
		pattern: `x509: certificate specifies an incompatible key usage`,
		Meaning: "the serving certificate does not allow server authentication",
		Causes: []Cause{
			{
				Cause:  "the kubelet serves its client certificate",
				Check:  "the extended key usage is only TLS Web Client Authentication",
				Remedy: "set tlsCertFile to a certificate with serverAuth; kubelet-client-current.pem is not one",
			},
		},
		Next: []string{
			"openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -subject " +
				"-ext extendedKeyUsage",
			checkServing,
		},
		Proof: ofGo,
	},
	{
		ID:      "any-x509",
		Texts:   []string{"x509: …"},
		pattern: `x509: [^\n"]+`,
		Meaning: "a certificate was not accepted; the error states the reason",
		Causes: []Cause{
			{
				Cause: "if a client reports it, the serving certificate; if a kubelet's log contains it, the " +
					"client certificate",
				Check: "see which program wrote the line",
				Remedy: "fauxlet explain lists all problems of a client certificate; openssl x509 -text " +
					"prints everything else",
			},
		},
		Next:  []string{showServing, "fauxlet explain --config kubelet.yaml --client-cert client.crt /pods"},
		Proof: ofGo,
	},
}
