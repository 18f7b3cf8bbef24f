package symptoms

// credentialErrors are errors in a kubelet's log about a client's credential. They come before servingErrors in the
// table, because their texts contain the texts of servingErrors.
var credentialErrors = []Symptom{
	{
		ID: "client-certificate-refused",
		Texts: []string{
			`"Unable to authenticate the request due to an error" err="verifying certificate SN=… failed: x509: …"`,
		},
		pattern: `verifying certificate SN=[^\n]*?failed: x509: (?P<fault>[^\n"\]]*)`,
		Meaning: "a kubelet refuses a client certificate (401): {fault}",
		Causes: []Cause{
			{
				Cause:  "kube-apiserver's kubelet client certificate has expired",
				Check:  "the error contains: has expired; openssl x509 -noout -dates of --kubelet-client-certificate",
				Remedy: "kubeadm certs renew apiserver-kubelet-client, and restart kube-apiserver",
			},
			{
				Cause: "its CA is not in the kubelet's clientCAFile",
				Check: "the error contains: unknown authority; openssl verify -CAfile with the kubelet's file",
				Remedy: "use a certificate of that CA, or add its CA to clientCAFile, which the kubelet " +
					"reloads without a restart",
			},
			{
				Cause:  "it is a serving certificate",
				Check:  "the error contains: key usage",
				Remedy: "use a certificate with the extended key usage clientAuth",
			},
		},
		Next: []string{
			"openssl x509 -in kubelet-client.crt -noout -subject -issuer -dates -ext extendedKeyUsage",
			"openssl verify -CAfile ca.crt -purpose sslclient kubelet-client.crt",
			"fauxlet explain --config kubelet.yaml --client-cert kubelet-client.crt /pods",
			checkClient,
		},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/63128"},
		Proof:   ofGo,
	},
	{
		ID:      "token-refused",
		Texts:   []string{`"Unable to authenticate the request due to an error" err="…invalid bearer token…"`},
		pattern: `invalid bearer token[^\n"\]]*|token lookup failed[^\n"\]]*`,
		Meaning: "kube-apiserver's TokenReview does not accept a client's bearer token (401)",
		Causes: []Cause{
			{
				Cause: "the token has expired, or belongs to another cluster",
				Check: "the fields exp and iss of its payload: cut -d. -f2 token | base64 -d",
				Remedy: "kubectl create token SERVICE-ACCOUNT; a client in a pod must reload its token file, " +
					"which changes every hour",
			},
			{
				Cause:  "its service account, or the pod that it is bound to, was deleted",
				Check:  "kubectl get serviceaccount",
				Remedy: "create it again, and use a new token",
			},
			{
				Cause:  "the token is for another audience than the apiserver's",
				Check:  "the field aud of its payload",
				Remedy: "use a token without --audience, or with one of --api-audiences",
			},
		},
		Next:    []string{"kubectl create token SERVICE-ACCOUNT", "kubectl auth whoami --token=\"$(cat token)\""},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/66311"},
		Proof:   ofKubelets,
	},
}
