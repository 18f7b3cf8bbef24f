package symptoms

// authenticationErrors are the errors that follow from a kubelet's response with status 401.
var authenticationErrors = []Symptom{
	{
		ID:      "upgrade-unauthorized",
		Texts:   []string{"error: unable to upgrade connection: Unauthorized"},
		pattern: `unable to upgrade connection: Unauthorized`,
		Meaning: "the kubelet does not authenticate the client of exec, attach or port-forward, which is " +
			"kube-apiserver (401)",
		Causes:  causesOfUnauthorized,
		Next:    nextOfUnauthorized,
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/63128"},
		Proof:   ofKubectl,
	},
	{
		ID: "unauthorized",
		Texts: []string{
			"error: You must be logged in to the server (the server has asked for the client to provide " +
				"credentials ( pods/log …))",
		},
		pattern: `the server has asked for the client to provide credentials \( ?(?P<resource>[\w./]+)[^)\n]*\)\)?`,
		Meaning: "the kubelet does not authenticate its client (401). The client is kube-apiserver, so this " +
			"is about its credential for kubelets, not about yours",
		Causes: causesOfUnauthorized,
		Next:   nextOfUnauthorized,
		Reports: []string{
			"https://github.com/kubernetes/kubernetes/issues/63128",
			"https://github.com/kubernetes/kubernetes/issues/61900",
		},
		Proof: ofKubectl,
	},
	{
		ID:    "scraper-unauthorized",
		Texts: []string{`request failed, status: "401 Unauthorized"`, `server returned HTTP status 401 Unauthorized`},
		pattern: `request failed(?:, status:| -) "401 Unauthorized"[^\n]*|server returned HTTP status 401[^\n]*|` +
			`HTTP/[\d.]+ 401 Unauthorized`,
		Meaning: "the kubelet does not authenticate the client that scrapes its metrics (401)",
		Causes: []Cause{
			{
				Cause:  "the kubelet ignores tokens",
				Check:  "authentication.webhook.enabled is false, or the kubelet runs without a configuration file",
				Remedy: "authentication: {webhook: {enabled: true}} (--authentication-token-webhook)",
			},
			{
				Cause:  "the scraper sends no token",
				Check:  "Prometheus: no authorization.credentials_file; curl: no header",
				Remedy: "authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}",
			},
			{
				Cause:  "the token has expired, or belongs to another cluster",
				Check:  "a static token file is mounted; send the token in a TokenReview",
				Remedy: "use a projected token, which is renewed",
			},
			{
				Cause:  "the kubelet cannot send TokenReviews",
				Check:  "its log contains: Failed to make webhook authenticator request",
				Remedy: "correct its kubeconfig; its user must be allowed to create tokenreviews",
			},
		},
		Next: []string{
			"curl -sk -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $(kubectl create token " +
				"SERVICE-ACCOUNT)\" https://NODE:10250/metrics/resource",
			"kubectl get --raw /api/v1/nodes/NODE/proxy/configz | jq .kubeletconfig.authentication",
			"fauxlet probe https://NODE:10250 --ca ca.crt --as scraper=token-file:token",
		},
		Reports: []string{
			"https://github.com/kubernetes-sigs/metrics-server/issues/144",
			"https://github.com/kubernetes-sigs/metrics-server/issues/212",
			"https://github.com/prometheus/prometheus/issues/5185",
		},
		Proof: ofKubelets,
	},
}

// causesOfUnauthorized are the reasons why a kubelet does not authenticate kube-apiserver.
var causesOfUnauthorized = []Cause{
	{
		Cause:  "kube-apiserver presents no client certificate to kubelets",
		Check:  "--kubelet-client-certificate is not among its flags",
		Remedy: "--kubelet-client-certificate and --kubelet-client-key",
	},
	{
		Cause:  "that certificate has expired",
		Check:  "openssl x509 -noout -dates; a kubelet's log contains: verifying certificate … failed",
		Remedy: "kubeadm certs renew apiserver-kubelet-client, and restart kube-apiserver",
	},
	{
		Cause:  "it is signed by a CA that the kubelet does not trust",
		Check:  "openssl verify -CAfile with the kubelet's clientCAFile",
		Remedy: "use a certificate of that CA, or add its CA to clientCAFile",
	},
	{
		Cause:  "the kubelet has no clientCAFile",
		Check:  "its /configz or config.yaml",
		Remedy: "authentication: {x509: {clientCAFile: ca.crt}}",
	},
	{
		Cause:  "it is a serving certificate",
		Check:  "the extended key usage is only serverAuth",
		Remedy: "use one with clientAuth",
	},
}

var nextOfUnauthorized = []string{
	"openssl x509 -in kubelet-client.crt -noout -subject -issuer -dates -ext extendedKeyUsage",
	"fauxlet explain --config kubelet.yaml --client-cert kubelet-client.crt /containerLogs/NAMESPACE/POD/CONTAINER",
	checkClient,
}
