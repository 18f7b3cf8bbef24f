package demo

import "net/http"

// scene is one lesson of the tour.
type scene struct {
	title string
	// claim is a common belief that the scene tests. Empty means that there is none.
	claim string
	steps []step
	// why explains the results. try suggests what to do in the reader's own cluster.
	why, try string
}

// step sends one request, either to a new stand-in kubelet with the given configuration, or to the stand-in kubelet
// of the previous step.
type step struct {
	// configured describes the configuration. Empty means that the request goes to the stand-in kubelet of the
	// previous step.
	configured string
	// fields are the fields of kubelet.yaml that differ from the recommended configuration, as YAML.
	fields map[string]string
	// bound describes rbac. The manifests in rbac are added to the demo's rbac.yaml.
	bound, rbac string
	// unreachable is true if the request goes to an address where no process listens.
	unreachable bool

	send request
	// status is the expected HTTP status. 0 means that the client fails without a response.
	status int
	// reason is a text expected in the Decision, or, if there is no response, in the client's error.
	reason string
}

// Fields of kubelet.yaml that the scenes set.
const (
	fieldClientCA  = "authentication.x509.clientCAFile"
	fieldAnonymous = "authentication.anonymous.enabled"
	fieldWebhook   = "authentication.webhook.enabled"
	fieldMode      = "authorization.mode"
	fieldDenials   = "authorization.webhook.cacheUnauthorizedTTL"
	fieldReadOnly  = "readOnlyPort"
	fieldCert      = "tlsCertFile"
	fieldKey       = "tlsPrivateKeyFile"
)

const (
	// freePort is the value of a field that stands for any free port.
	freePort = "free port"
	// nodeNameOfStep, as a request's serverName, stands for the name of the node to which the request is sent.
	nodeNameOfStep = "node name"
)

const (
	// recommended describes the configuration with which each stand-in kubelet starts.
	recommended = "clientCAFile is set, webhook authentication is on, anonymous is off, authorization.mode is Webhook"

	// otherwiseRecommended is the end of the description of a configuration that sets only some fields.
	otherwiseRecommended = "; otherwise as in scene 3"

	logPath    = "/containerLogs/default/nginx/nginx?tailLines=1"
	probesPath = "/metrics/probes"
)

var (
	logWithoutCredential = request{
		client: noCredential, path: logPath,
		about: "a client without certificate and token reads a log",
	}
	logAsKubeAPIServer = request{
		client: kubeletClient, path: logPath,
		about: "kubelet-client, the identity of a kube-apiserver, reads a log",
	}
	logAsViewer = request{
		client: viewer, path: logPath,
		about: "viewer, with a valid client certificate and no role, reads a log",
	}
	logAsViewerAgain = request{client: viewer, path: logPath, about: "viewer reads the log again"}
	logToNodeName    = request{
		client: kubeletClient, path: logPath, serverName: nodeNameOfStep,
		about: "kubelet-client reads a log, and dials the node's name",
	}
	logToAddress = request{
		client: kubeletClient, path: logPath,
		about: "kubelet-client reads a log, and dials the node's IP address",
	}
	logWithoutVerifying = request{
		client: kubeletClient, path: logPath, insecure: true,
		about: `kubelet-client reads a log, and does not verify the serving certificate (like curl --insecure, or a
			kube-apiserver without --kubelet-certificate-authority)`,
	}
	logAsUntrusted = request{
		client: untrusted, path: logPath,
		about: "untrusted, with a client certificate signed by an unknown CA, reads a log",
	}
	logAsExpired = request{
		client: expired, path: logPath,
		about: "expired, with a client certificate that has expired, reads a log",
	}
	metricsAsPrometheus = request{
		client: prometheus, path: probesPath,
		about: "prometheus, with the token of its service account, reads metrics",
	}
	logAsPrometheus       = request{client: prometheus, path: logPath, about: "prometheus, with the same token, reads a log"}
	logWithTwoCredentials = request{
		client: kubeletClientWithInvalidToken, path: logPath,
		about: "kubelet-client, with its certificate and an invalid token, reads a log",
	}
	logAsUntrustedWithToken = request{
		client: untrustedWithToken, path: logPath,
		about: "untrusted, with its certificate and prometheus's token, reads a log",
	}
	logWithInvalidToken = request{
		client: withInvalidToken, path: logPath,
		about: "a client with an invalid token alone reads a log",
	}
	podsInPlainHTTP = request{
		client: onReadOnlyPort, path: "/pods",
		about: "a client without a credential lists the pods, over plain HTTP",
	}
	logInPlainHTTP     = request{client: onReadOnlyPort, path: logPath, about: "it reads a log"}
	commandInPlainHTTP = request{
		client: onReadOnlyPort, method: http.MethodPost, path: "/run/default/nginx/nginx?cmd=id",
		about: "it runs a command",
	}
)

const (
	viewerBound = "a ClusterRoleBinding gives viewer the role system:kubelet-api-admin"
	viewerRBAC  = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:kubelet-api-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: viewer}]
`
)

// scenes are the scenes of the tour. They follow a request on its way: connection, TLS, authentication,
// authorization.
var scenes = []scene{
	{
		title: "Connection refused",
		steps: []step{{
			configured: "no kubelet: nothing listens on the port", unreachable: true,
			send: logAsKubeAPIServer, reason: "connection refused",
		}},
		why: `The TCP connection fails, so neither TLS nor authentication begins. kubectl logs prints the same words: the
			kube-apiserver dials the kubelet for it, at an address in the Node's status.addresses and the port in its
			status.daemonEndpoints.`,
		try: `On the node: ss -ltnp | grep 10250. In the cluster: kubectl get node NODE -o
			jsonpath='{.status.addresses} {.status.daemonEndpoints}'`,
	},
	{
		title: "A serving certificate that the client does not accept",
		steps: []step{{
			configured: "no tlsCertFile: the kubelet makes a self-signed serving certificate, valid for the node's " +
				"name alone",
			fields: map[string]string{fieldCert: "", fieldKey: ""},
			send:   logToNodeName, reason: "certificate signed by unknown authority",
		}, {send: logToAddress, reason: "doesn't contain any IP SANs"}, {
			send: logWithoutVerifying, status: http.StatusOK,
		}},
		why: `The client verifies the serving certificate before it sends a request. It wants a certificate that is signed
			by a CA it trusts and contains the address that it dials. A self-signed certificate fails both conditions. The
			two errors differ for the client; for the kubelet each is a failed TLS handshake. Without verification the
			request succeeds, but then the client trusts any server at that address.`,
		try: `Make a certificate with fauxlet certs server NODE --dir pki --host ADDRESS, and set tlsCertFile and
			tlsPrivateKeyFile. Or set serverTLSBootstrap: true, and run kubectl certificate approve.`,
	},
	{
		title: "A client certificate that the kubelet refuses",
		steps: []step{{
			configured: recommended,
			send:       logAsUntrusted,
			status:     http.StatusUnauthorized, reason: `certificate signed by unknown authority "unknown-ca"`,
		}, {send: logAsExpired, status: http.StatusUnauthorized, reason: "expired"}},
		why: `The kubelet requests a client certificate and does not require one, so the TLS handshake succeeds with any
			certificate. The refusal is an HTTP response: 401 Unauthorized. kubectl prints it as: the server has asked for
			the client to provide credentials.`,
		try: `In the folder: openssl verify -CAfile pki/ca.crt pki/untrusted.crt. It fails for the same reason.`,
	},
	{
		title: "No credential",
		steps: []step{{
			configured: recommended, send: logWithoutCredential,
			status: http.StatusUnauthorized, reason: "no client certificate was presented",
		}},
		why: `No authentication step finds a credential, and anonymous authentication is off. A kubelet logs nothing
			about this, at any verbosity. A kube-apiserver without --kubelet-client-certificate sends exactly such requests.`,
		try: `Give the kube-apiserver --kubelet-client-certificate and --kubelet-client-key, signed by a CA in the kubelet's
			clientCAFile.`,
	},
	{
		title: "Anonymous authentication is on, and that is not enough",
		steps: []step{{
			configured: fieldAnonymous + ": true" + otherwiseRecommended,
			fields:     map[string]string{fieldAnonymous: "true"},
			send:       logWithoutCredential, status: http.StatusForbidden,
			reason: `user "system:anonymous" may not get nodes/proxy`,
		}},
		why: `The request is now authenticated, as system:anonymous. The kubelet then sends a SubjectAccessReview, and no
			role is bound to system:anonymous: 403 Forbidden instead of 401 Unauthorized.`,
		try: `Bind system:anonymous to a role, or set authorization.mode: AlwaysAllow. But with AlwaysAllow every client that
			reaches the port may run commands in every pod.`,
	},
	{
		title: "A token",
		claim: `"A kubelet needs certificates for its clients, because kubectl cannot send it a token." In fact only the
			kube-apiserver cannot. metrics-server, Prometheus and curl do send tokens.`,
		steps: []step{{
			configured: recommended,
			send:       metricsAsPrometheus,
			status:     http.StatusOK, reason: `ClusterRoleBinding "metrics-reader"`,
		}, {send: logAsPrometheus, status: http.StatusForbidden, reason: "may not get nodes/proxy"}, {
			configured: fieldWebhook + ": false" + otherwiseRecommended,
			fields:     map[string]string{fieldWebhook: "false"},
			send:       metricsAsPrometheus,
			status:     http.StatusUnauthorized, reason: "was not read",
		}},
		why: `The kubelet sends the token to the kube-apiserver in a TokenReview, and the response names the user. Each path
			needs a permission of its own: /metrics/probes needs nodes/metrics, a log needs nodes/proxy. Without webhook
			authentication the kubelet does not read tokens.`,
		try: `curl --cacert ca.crt -H "Authorization: Bearer $(kubectl create token NAME)" https://NODE:10250/metrics`,
	},
	{
		title: "The order of authentication, and the trap of an invalid token",
		claim: `"With anonymous authentication on, a kubelet ignores certificates and tokens." In fact anonymous is the last
			step, and only for a request without a credential.`,
		steps: []step{{
			configured: fieldAnonymous + ": true" + otherwiseRecommended,
			fields:     map[string]string{fieldAnonymous: "true"},
			send:       logWithTwoCredentials,
			status:     http.StatusOK, reason: `user "kubelet-client"`,
		}, {send: logAsUntrustedWithToken, status: http.StatusForbidden, reason: `user "` + prometheusUser + `"`}, {
			send:   logWithInvalidToken,
			status: http.StatusUnauthorized, reason: "invalid bearer token",
		}, {
			configured: fieldAnonymous + ": true, " + fieldWebhook + ": false" + otherwiseRecommended,
			fields:     map[string]string{fieldAnonymous: "true", fieldWebhook: "false"},
			send:       logWithInvalidToken,
			status:     http.StatusForbidden, reason: `user "system:anonymous"`,
		}},
		why: `The kubelet tries the client certificate, then the token, then anonymous. The first success ends authentication.
			A refused credential does not end it while there is another one, but it rules out anonymous: an invalid token
			is 401 where no token at all would be authenticated as system:anonymous. With webhook authentication off the
			token is not read, so the request counts as one without a credential.`,
		try: `If metrics-server gets 401 although anonymous is on, the kubelet has refused its token or could not review it.
			Look at webhook authentication and at the token, not at anonymous.`,
	},
	{
		title: "Forbidden, and the binding that fixes it",
		steps: []step{{
			configured: recommended + "; a denial is not cached, so that you need not wait",
			fields:     map[string]string{fieldDenials: "1ns"},
			send:       logAsViewer, status: http.StatusForbidden, reason: `user "viewer" may not get nodes/proxy`,
		}, {
			bound: viewerBound, rbac: viewerRBAC,
			send: logAsViewerAgain, status: http.StatusOK, reason: `ClusterRoleBinding "viewer"`,
		}},
		why: `The kubelet sends a SubjectAccessReview to the kube-apiserver: may viewer get nodes/proxy on this node? The
			response body, Forbidden (user=…, verb=…, resource=…, subresource=…), repeats that review. This is
			authorization: no certificate changes it.`,
		try: `kubectl create clusterrolebinding viewer --clusterrole=system:kubelet-api-admin --user=viewer`,
	},
	{
		title: "Caches: the fix that does not seem to work",
		steps: []step{{
			configured: recommended + "; a denial is cached for 5 min (the default is 30 s)",
			fields:     map[string]string{fieldDenials: "5m"},
			send:       logAsViewer, status: http.StatusForbidden, reason: "may not get nodes/proxy",
		}, {
			bound: viewerBound, rbac: viewerRBAC,
			send: logAsViewerAgain, status: http.StatusForbidden, reason: fromCache,
		}, {
			configured: "the same, after a restart: the cache is empty", fields: map[string]string{fieldDenials: "5m"},
			bound: viewerBound, rbac: viewerRBAC,
			send: logAsViewerAgain, status: http.StatusOK, reason: `ClusterRoleBinding "viewer"`,
		}},
		why: `By default a kubelet caches a denial for 30 s, a permission for 5 min, and an authenticated token for 2 min. So
			a new binding takes up to 30 s to work, and a deleted binding works for up to 5 min more.`,
		try: `Wait before you undo a correct change. The cache times are authorization.webhook.cacheUnauthorizedTTL and
			cacheAuthorizedTTL, and authentication.webhook.cacheTTL.`,
	},
	{
		title: "The read-only port",
		claim: `"kube-apiserver --kubelet-https=false makes it use port 10255." In fact the kube-apiserver no longer has that
			flag.`,
		steps: []step{{
			configured: "readOnlyPort, which is off (0) by default", fields: map[string]string{fieldReadOnly: freePort},
			send:   podsInPlainHTTP,
			status: http.StatusOK, reason: noAuthentication,
		}, {send: logInPlainHTTP, status: http.StatusMethodNotAllowed, reason: noAuthentication}, {
			send:   commandInPlainHTTP,
			status: http.StatusMethodNotAllowed, reason: noAuthentication,
		}},
		why: `The port has no TLS, no authentication and no authorization. Every client that reaches it can read the list of
			pods, with their environment variables, and the metrics. Logs, exec and run are not served on it: 405, Debug
			endpoints are disabled.`,
		try: `Leave readOnlyPort at 0. A client of that port can read the same from 10250 with a token.`,
	},
	{
		title: "Two recipes: development and production",
		steps: []step{{
			configured: "development: " + fieldAnonymous + ": true, " + fieldMode + ": AlwaysAllow",
			fields:     map[string]string{fieldAnonymous: "true", fieldMode: "AlwaysAllow"},
			send:       logWithoutCredential, status: http.StatusOK,
			reason: `user "system:anonymous" may get nodes/proxy`,
		}, {
			configured: "production: " + recommended,
			send:       logWithoutCredential, status: http.StatusUnauthorized,
			reason: "anonymous authentication is off",
		}, {send: logAsViewer, status: http.StatusForbidden, reason: `user "viewer" may not`}, {
			send: logAsKubeAPIServer, status: http.StatusOK, reason: `ClusterRoleBinding "kubelet-client"`,
		}},
		why: `The first lets every client do everything. Use it only on a machine that no other machine can reach. The second
			lets in authenticated users with a role: a client certificate for the kube-apiserver, tokens for programs that
			scrape metrics, and a serving certificate signed by a CA that the kube-apiserver verifies.`,
		try: `fauxlet check tests the kubelet flags of your kube-apiserver; fauxlet probe tests the settings of a kubelet.`,
	},
}
