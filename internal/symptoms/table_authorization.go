package symptoms

// authorizationErrors are the errors that follow from a kubelet's response with status 403, or with status 500 after
// a failed review.
var authorizationErrors = []Symptom{
	{
		ID:      "forbidden-anonymous",
		Texts:   []string{"Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>system:anonymous)` + attributes,
		Meaning: "the request is anonymous, and anonymous clients may not {verb} {resource}/{subresource} (403)",
		Causes: []Cause{
			{
				Cause: "kube-apiserver has no client certificate for kubelets, and anonymous authentication is enabled",
				Check: "--kubelet-client-certificate is not among its flags",
				Remedy: "set --kubelet-client-certificate and --kubelet-client-key, signed by a CA in the " +
					"kubelet's clientCAFile",
			},
			{
				Cause:  "the kubelet has no clientCAFile, so it requests no certificate",
				Check:  "kubectl get --raw …/configz, authentication.x509",
				Remedy: "authentication: {x509: {clientCAFile: ca.crt}}",
			},
			{
				Cause:  "a scraper sends a token, but the kubelet ignores tokens",
				Check:  "authentication.webhook.enabled is false",
				Remedy: "authentication: {webhook: {enabled: true}}",
			},
		},
		Next: []string{
			"fauxlet check --kubeconfig admin.conf --client-ca ca.crt --only client.presented,client.trusted",
			"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as=system:anonymous",
		},
		Reports: []string{
			"https://github.com/kubernetes/kubernetes/issues/55872",
			"https://github.com/kubernetes/kubectl/issues/139",
		},
		Proof: ofKubectl,
	},
	{
		ID:      "forbidden-node",
		Texts:   []string{"Forbidden (user=system:node:…, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>system:node:[^,\s]+)` + attributes,
		Meaning: "the client uses a node's own certificate, {user}, and a node may not {verb} " +
			"{resource}/{subresource} of a kubelet (403)",
		Causes: []Cause{
			{
				Cause:  "kube-apiserver's --kubelet-client-certificate is a kubelet's certificate",
				Check:  "openssl x509 -noout -subject prints O = system:nodes",
				Remedy: "use a certificate of its own: CN=kube-apiserver-kubelet-client",
			},
			{
				Cause:  "the request was sent manually with the kubelet's credential",
				Check:  "curl with /var/lib/kubelet/pki/kubelet-client-current.pem",
				Remedy: "use kube-apiserver's certificate, or a token",
			},
		},
		Next: []string{
			"openssl x509 -in kubelet-client.crt -noout -subject",
			"fauxlet check --kubeconfig admin.conf --only client.subject,rights",
		},
		Proof: ofKubelets,
	},
	{
		ID:    "forbidden-service-account",
		Texts: []string{"Forbidden (user=system:serviceaccount:…, verb=get, resource=nodes, subresource(s)=[metrics])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden ` +
			`\(user=(?P<user>system:serviceaccount:(?P<account>[^,\s]+))` +
			attributes,
		Meaning: "the token is valid, but the service account {account} may not {verb} {resource}/{subresource} (403)",
		Causes: []Cause{
			{
				Cause: "its ClusterRole lacks {resource}/{subresource}: nodes alone does not include it, and " +
					"nodes/proxy does not include nodes/metrics",
				Check:  "kubectl auth can-i prints no",
				Remedy: "add {resource}/{subresource} with the verb {verb} to its ClusterRole",
			},
			{
				Cause:  "the binding names another service account or namespace, or is a RoleBinding",
				Check:  "kubectl get clusterrolebinding -o wide",
				Remedy: "create a ClusterRoleBinding with --serviceaccount={account}",
			},
			{
				Cause:  "the role was bound a moment ago",
				Check:  "can-i prints yes, and the error disappears within 30 s",
				Remedy: "wait: the kubelet caches a denial for authorization.webhook.cacheUnauthorizedTTL",
			},
		},
		Next: []string{
			"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}",
			"kubectl create clusterrole kubelet-{subresource} --verb={verb} --resource={resource}/{subresource}",
			"kubectl create clusterrolebinding kubelet-{subresource} --clusterrole=kubelet-{subresource} " +
				"--serviceaccount={account}",
		},
		Reports: []string{
			"https://github.com/prometheus-operator/prometheus-operator/pull/1677",
			"https://github.com/kubernetes-sigs/metrics-server/issues/95",
		},
		Proof: ofKubelets,
	},
	{
		ID: "forbidden-subresource",
		Texts: []string{
			"Forbidden (user=…, verb=get, resource=nodes, subresource(s)=[stats])",
			"Forbidden (user=…, verb=get, resource=nodes, subresource(s)=[pods proxy])",
		},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>[^,\n]*), verb=(?P<verb>\w*), ` +
			`resource=(?P<resource>\w+), subresource(?:\(s\))?=\[?(?P<subresource>stats|metrics|log|pods|` +
			`healthz|configz|statusz|checkpoint)[\w ]*\]?\)`,
		Meaning: "the kubelet authenticates its client as {user}, but that user may not {verb} " +
			"{resource}/{subresource} (403). If the error names two subresources, one of them is sufficient",
		Causes: []Cause{
			{
				Cause: "the user is bound to a role without {resource}/{subresource}",
				Check: "kubectl auth can-i prints no",
				Remedy: "use a role with it, or system:kubelet-api-admin, which contains everything except " +
					"statusz and checkpoint",
			},
			{
				Cause:  "the role contains {subresource} or nodes/*, which have no effect",
				Check:  "kubectl get clusterrole -o yaml",
				Remedy: "resources: [{resource}/{subresource}]",
			},
		},
		Next: []string{
			"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}",
			"kubectl create clusterrole kubelet-{subresource} --verb={verb} --resource={resource}/{subresource}",
			"kubectl create clusterrolebinding kubelet-{subresource} --clusterrole=kubelet-{subresource} --user={user}",
		},
		Proof: ofKubelets,
	},
	{
		ID:      "forbidden",
		Texts:   []string{"Forbidden (user=kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>[^,\n]*)` + attributes,
		Meaning: "the kubelet authenticates its client as {user}, but that user may not {verb} " +
			"{resource}/{subresource} (403). The client is kube-apiserver, not you",
		Causes: []Cause{
			{
				Cause: "kube-apiserver's user for kubelets is not bound to a role",
				Check: "kubectl auth can-i prints no",
				Remedy: "kubectl create clusterrolebinding kubelet-client " +
					"--clusterrole=system:kubelet-api-admin --user={user}",
			},
			{
				Cause: "the certificate has another common name than the binding, or lacks the organization " +
					"that was bound",
				Check:  "openssl x509 -noout -subject of --kubelet-client-certificate",
				Remedy: "bind {user}, or issue the certificate again",
			},
			{
				Cause:  "the role was bound a moment ago",
				Check:  "can-i prints yes, and the error disappears within 30 s",
				Remedy: "wait: the kubelet caches a denial for authorization.webhook.cacheUnauthorizedTTL",
			},
			{
				Cause:  "the kubelet sends its reviews to another apiserver than yours",
				Check:  "its --kubeconfig",
				Remedy: "correct the server there",
			},
		},
		Next: []string{
			"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}",
			"kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user={user}",
			"fauxlet check --kubeconfig admin.conf --only rights",
		},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/56277"},
		Proof:   ofKubectl,
	},
	{
		ID:    "scraper-forbidden",
		Texts: []string{`request failed, status: "403 Forbidden"`, `server returned HTTP status 403 Forbidden`},
		pattern: `request failed(?:, status:| -) "403 Forbidden"[^\n]*|server returned HTTP status 403[^\n]*|` +
			`HTTP/[\d.]+ 403 Forbidden`,
		Meaning: "the kubelet authenticates the client that scrapes its metrics, but does not authorize it " +
			"(403). The kubelet's response contains the user and the missing permission",
		Causes: []Cause{
			{
				Cause:  "the scraper's ClusterRole lacks nodes/metrics",
				Check:  "curl with its token prints Forbidden (user=…, subresource(s)=[metrics])",
				Remedy: "add nodes/metrics with the verb get; for /stats/summary add nodes/stats",
			},
			{
				Cause:  "the scraper sends no token, or the kubelet ignores it, and anonymous authentication is enabled",
				Check:  "curl prints user=system:anonymous",
				Remedy: "configure the token, and set authentication.webhook.enabled: true",
			},
		},
		Next: []string{
			"curl -sk -H \"Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)\" https://NODE:10250/metrics",
			"kubectl auth can-i get nodes/NODE --subresource=metrics --as=system:serviceaccount:NAMESPACE:NAME",
		},
		Reports: []string{
			"https://github.com/prometheus/prometheus/issues/5334",
			"https://github.com/prometheus-operator/prometheus-operator/issues/867",
		},
		Proof: ofKubelets,
	},
	{
		ID:      "authorization-error",
		Texts:   []string{"Authorization error (user=…, verb=get, resource=nodes, subresource=proxy)"},
		pattern: `Authorization error \(user=(?P<user>[^,\n]*)` + attributes,
		Meaning: "the kubelet authenticates its client as {user}, but authorization failed with an error (500)",
		Causes: []Cause{
			{
				Cause:  "the kubelet does not reach its apiserver",
				Check:  "kubectl get nodes shows NotReady after 40 s; its log contains: connection refused, i/o timeout",
				Remedy: "repair the apiserver, or correct the server in the kubelet's kubeconfig",
			},
			{
				Cause: "the kubelet's own user may not create SubjectAccessReviews",
				Check: "its log contains: subjectaccessreviews.authorization.k8s.io is forbidden",
				Remedy: "use a node's credential (system:node:NODE, group system:nodes), or bind its user to " +
					"system:auth-delegator",
			},
			{
				Cause:  "the kubelet's own credential has expired",
				Check:  "its log contains: Unauthorized; openssl x509 -noout -dates of kubelet-client-current.pem",
				Remedy: "set rotateCertificates: true, or join the node again",
			},
		},
		Next: []string{
			"journalctl -u kubelet --since -10min | grep -i webhook",
			"kubectl auth can-i create subjectaccessreviews.authorization.k8s.io --as=system:node:NODE " +
				"--as-group=system:nodes",
		},
		Proof: ofKubelets,
	},
	{
		ID:      "reviewer-failed",
		Texts:   []string{"Failed to make webhook authenticator request", "Failed to make webhook authorizer request"},
		pattern: `Failed to make webhook (?P<which>authenticator|authorizer) request:?[^\n]*`,
		Meaning: "in a kubelet's log: the apiserver did not answer a TokenReview or SubjectAccessReview. The " +
			"client receives 401 or 500",
		Causes: []Cause{
			{
				Cause:  "the apiserver is not reachable, or the kubeconfig names another one",
				Check:  "the same line contains: connection refused or i/o timeout",
				Remedy: "repair the apiserver, or correct the server in the kubelet's kubeconfig",
			},
			{
				Cause:  "the kubelet's user may not create the reviews",
				Check:  "the same line contains: is forbidden",
				Remedy: "use a node's credential, or bind its user to system:auth-delegator",
			},
		},
		Next: []string{
			"kubectl --kubeconfig /etc/kubernetes/kubelet.conf auth whoami",
			"kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz",
		},
		Proof: ofKubelets,
	},
}
