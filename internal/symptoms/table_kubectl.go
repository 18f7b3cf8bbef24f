package symptoms

// kubectlErrors are errors between kubectl and kube-apiserver, before a kubelet is involved.
var kubectlErrors = []Symptom{
	{
		ID: "kubectl-cannot-connect",
		Texts: []string{
			"Unable to connect to the server: …",
			"The connection to the server … was refused - did you specify the right host or port?",
			`"Couldn't get current server API group list" err="… dial tcp …"`,
		},
		pattern: `[Cc]ouldn't get current server API group list[^\n]*(?:dial tcp|tls: |x509: |EOF|[Tt]imeout|` +
			`deadline)[^\n]*|Unable to connect to the server: [^\n]*|` +
			`The connection to the server (?P<address>\S+) was refused - did you specify the right host or ` +
			`port\?`,
		Meaning: "kubectl does not reach kube-apiserver. The error has nothing to do with a kubelet",
		Causes: []Cause{
			{
				Cause:  "the kubeconfig names another server than the running one, or contains another server's CA",
				Check:  "kubectl get nodes fails with the same error",
				Remedy: "correct the server and certificate-authority-data of the current context",
			},
			{
				Cause:  "kube-apiserver is down",
				Check:  "curl to its /readyz fails on its own machine too",
				Remedy: "start it, and read its log",
			},
		},
		Next:    []string{"kubectl config view --minify", "kubectl get --raw /readyz"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/24586"},
		Proof:   ofKubectl,
	},
	{
		ID:    "kubectl-unauthorized",
		Texts: []string{"error: You must be logged in to the server (Unauthorized)"},
		pattern: `You must be logged in to the server \((?:Unauthorized|` +
			`the server has asked for the client to provide credentials)\)`,
		Meaning: "kube-apiserver does not authenticate kubectl's own user. The error has nothing to do with " +
			"a kubelet; a kubelet's error would end with the name of a pod",
		Causes: []Cause{
			{
				Cause:  "the credential in the kubeconfig has expired, or belongs to another cluster",
				Check:  "kubectl get nodes fails with the same error",
				Remedy: "get a new kubeconfig: kubeadm kubeconfig user, or your cloud provider's login",
			},
		},
		Next: []string{
			"kubectl auth whoami",
			"kubectl config view --minify --raw -o jsonpath='{.users[0].user.client-certificate-data}' | " +
				"base64 -d | openssl x509 -noout -subject -dates",
		},
		Proof: ofKubectl,
	},
	{
		ID:      "kubectl-forbidden",
		Texts:   []string{`Error from server (Forbidden): … is forbidden: User "…" cannot get resource "pods/log"`},
		pattern: `is forbidden: User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"[^\n]*`,
		Meaning: `kube-apiserver does not allow kubectl's own user "{user}" to {verb} {resource}. The error ` +
			`has nothing to do with a kubelet; a kubelet's error begins with "Forbidden (user="`,
		Causes: []Cause{
			{
				Cause: "the user has no role for this",
				Check: "kubectl auth can-i prints no",
				Remedy: "create a Role or ClusterRole with {resource}, and bind it to the user; the role " +
					"view contains pods/log, edit contains pods/exec",
			},
		},
		Next:    []string{"kubectl auth can-i {verb} {resource} --as={user}"},
		Reports: []string{"https://github.com/kubernetes/k8s.io/pull/801"},
		Proof:   ofKubectl,
	},
	{
		ID:      "no-such-pod",
		Texts:   []string{`Error from server (NotFound): pods "…" not found`},
		pattern: `\(NotFound\): pods "(?P<pod>[^"]*)" not found`,
		Meaning: "kube-apiserver has no pod {pod} in that namespace. It sent no request to a kubelet",
		Causes: []Cause{
			{
				Cause:  "the pod is in another namespace",
				Check:  "kubectl get pods -A lists it",
				Remedy: "use -n NAMESPACE",
			},
			{
				Cause:  "the pod was deleted and replaced",
				Check:  "kubectl get pods lists one with the same prefix",
				Remedy: "use the new name, or the owner's, such as deploy/NAME",
			},
		},
		Next: []string{
			"kubectl get pods -A --field-selector metadata.name={pod}",
			"kubectl config view --minify -o jsonpath='{..namespace}'",
		},
		Proof: ofKubectl,
	},
}
