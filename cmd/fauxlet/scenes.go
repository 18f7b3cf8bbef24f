package main

import "net/http"

// scene is one lesson of the guided tour.
type scene struct {
	title string
	// claim is what is said about it, where that is wrong or out of date, so that it is an experiment.
	claim string
	steps []step
	why   string
	try   string
}

// step sends one request, and says what must come of it.
type step struct {
	// set is what is set for it, in words. Where it is there, a stand-in is started with the fields of with; else the step
	// is sent to that of the step before.
	set  string
	with map[string]string
	// rbac is what is bound beside the demo's rbac.yaml.
	rbac string
	// nobody: nothing listens where it is sent.
	nobody bool
	send   visitor
	// status is that of the answer; 0: there is none, and the client has an error. says is a part of what is told.
	status int
	says   string
}

const (
	fieldClientCA  = "authentication.x509.clientCAFile"
	fieldAnonymous = "authentication.anonymous.enabled"
	fieldWebhook   = "authentication.webhook.enabled"
	fieldMode      = "authorization.mode"
	fieldDenials   = "authorization.webhook.cacheUnauthorizedTTL"
)

const (
	logsPath       = "/containerLogs/default/nginx/nginx?tailLines=1"
	prometheusUser = "system:serviceaccount:monitoring:prometheus"
)

// usualSettings are what a kubelet's file is advised to say, which the scenes begin with.
const usualSettings = "a clientCAFile, and what a file has by default: webhook on, anonymous off, authorization by Webhook"

var (
	asNobody    = visitor{says: "nobody: no certificate, no token", path: logsPath}
	asApiserver = visitor{says: "kubelet-client, as a kube-apiserver would", certificate: "kubelet-client", path: logsPath}
	asViewer    = visitor{says: "viewer, whose certificate is good and who is bound to nothing", certificate: "viewer", path: logsPath}
)

const viewerBound = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:kubelet-api-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: viewer}]
`

// by has a visitor dial the node by its name, which a certificate may have in it.
func by(v visitor, name string) visitor {
	v.serverName = name
	return v
}

// scenes are the tour, in the order in which a request meets what they are about.
var scenes = []scene{
	{
		title: "Connection refused",
		steps: []step{{
			set: "nothing: no kubelet listens", nobody: true, send: asApiserver,
			says: "connection refused",
		}},
		why: "Nobody was asked anything: there is no TLS, no identity and no right yet. kubectl logs shows the same words, because the kube-apiserver dials the kubelet for it, at an address of the Node and the port in its status.daemonEndpoints.",
		try: "On the node: ss -ltnp | grep 10250. In the cluster: kubectl get node NODE -o jsonpath='{.status.addresses} {.status.daemonEndpoints}'.",
	},
	{
		title: "Unknown authority",
		steps: []step{{
			set:  "no tlsCertFile: the kubelet makes itself a self-signed pair, for its name alone",
			with: map[string]string{"tlsCertFile": "", "tlsPrivateKeyFile": ""},
			send: by(asApiserver, selfName), says: "certificate signed by unknown authority",
		}, {
			send: asApiserver, says: "doesn't contain any IP SANs",
		}, {
			send: visitor{says: "the same client, which does not verify (curl -k; a kube-apiserver without --kubelet-certificate-authority)", certificate: "kubelet-client", path: logsPath, insecure: true}, status: 200,
		}},
		why: "The client judges the kubelet first. This client wants a certificate of its CA, with the address that it dials; a self-signed pair is neither. By name and by address it says so in different words, and on the kubelet's side both are a failed handshake. Not to verify works, and whoever answers at that address is then believed to be the kubelet.",
		try: "fauxlet certs server NODE --dir pki --host ADDRESS, and tlsCertFile and tlsPrivateKeyFile; or serverTLSBootstrap: true, and kubectl certificate approve.",
	},
	{
		title: "A stranger's certificate",
		steps: []step{{
			set:    usualSettings,
			send:   visitor{says: "stranger, whose certificate is of a CA that the kubelet does not know", certificate: "stranger", path: logsPath},
			status: 401, says: `certificate signed by unknown authority "stranger-ca"`,
		}, {
			send:   visitor{says: "expired, whose certificate was good once", certificate: "expired", path: logsPath},
			status: 401, says: "expired",
		}},
		why: "Now the kubelet judges the client. It asks for a certificate and does not require one, so the handshake is done, and the refusal is an HTTP answer: 401 Unauthorized. kubectl shows it as: the server has asked for the client to provide credentials.",
		try: "In the folder: openssl verify -CAfile pki/ca.crt pki/stranger.crt says the same as the kubelet.",
	},
	{
		title: "No credential",
		steps: []step{{set: usualSettings, send: asNobody, status: 401, says: "no client certificate was presented"}},
		why:   "The three methods are asked, none has anything to judge, and anonymous is off. A kubelet logs nothing of this, not at any verbosity: the operator is left blind. That a kube-apiserver has no --kubelet-client-certificate looks like this.",
		try:   "kube-apiserver --kubelet-client-certificate=… --kubelet-client-key=…, of a CA in the kubelet's clientCAFile.",
	},
	{
		title: "Anonymous on, and why that is not enough",
		steps: []step{{
			set: fieldAnonymous + ": true", with: map[string]string{fieldAnonymous: "true"},
			send: asNobody, status: 403, says: `user "system:anonymous" may not get nodes/proxy`,
		}},
		why: "The client has an identity now, system:anonymous, and that is all. What it may do is asked next, of the apiserver, and system:anonymous is bound to nothing: 403 in the place of 401.",
		try: "Bind system:anonymous, or set authorization.mode: AlwaysAllow, where everybody who reaches the port may run commands in every pod.",
	},
	{
		title: "A token",
		claim: "It is said that a kubelet has certificates for its clients, because kubectl cannot send a token. The kube-apiserver cannot; metrics-server, Prometheus and curl do.",
		steps: []step{{
			set:    usualSettings,
			send:   visitor{says: "prometheus, by the token of its service account", token: prometheusUser, path: "/metrics/probes"},
			status: 200, says: "ClusterRoleBinding \"metrics-reader\"",
		}, {
			send: visitor{says: "prometheus, for a log", token: prometheusUser, path: logsPath}, status: 403, says: "may not get nodes/proxy",
		}, {
			set: fieldWebhook + ": false", with: map[string]string{fieldWebhook: "false"},
			send:   visitor{says: "prometheus, where tokens are not read", token: prometheusUser, path: "/metrics/probes"},
			status: 401, says: "was not read",
		}},
		why: "The kubelet sends the token to the apiserver, in a TokenReview, and the answer is who it is of. Each path asks for a right of its own: /metrics/probes for nodes/metrics, a log for nodes/proxy.",
		try: `curl --cacert ca.crt -H "Authorization: Bearer $(kubectl create token NAME)" https://NODE:10250/metrics`,
	},
	{
		title: "The order of the chain, and the trap of a bad token",
		claim: "It is said that with anonymous on, certificates and tokens are ignored. The experiment says otherwise: anonymous is the last resort, for a client without a credential.",
		steps: []step{{
			set: fieldAnonymous + ": true", with: map[string]string{fieldAnonymous: "true"},
			send:   visitor{says: "kubelet-client, with a bad token beside its good certificate", certificate: "kubelet-client", token: badToken, path: logsPath},
			status: 200, says: `user "kubelet-client"`,
		}, {
			send:   visitor{says: "stranger's certificate, with a good token", certificate: "stranger", token: prometheusUser, path: logsPath},
			status: 403, says: `user "` + prometheusUser + `"`,
		}, {
			send:   visitor{says: "a bad token, and nothing else", token: badToken, path: logsPath},
			status: 401, says: "invalid bearer token",
		}, {
			set: fieldAnonymous + ": true, " + fieldWebhook + ": false", with: map[string]string{fieldAnonymous: "true", fieldWebhook: "false"},
			send:   visitor{says: "the same bad token, where tokens are not read", token: badToken, path: logsPath},
			status: 403, says: `user "system:anonymous"`,
		}},
		why: "Certificate, then token, then anonymous; one success is enough, and ends the chain. A failure does not end it while there is another credential to try, but it bars the way to anonymous: a bad token is 401, where no token at all gets in.",
		try: "If metrics-server gets 401 though anonymous is on: it does send a token. Turn the webhook on, rather than anonymous.",
	},
	{
		title: "Forbidden, and the binding that cures it",
		steps: []step{{
			set: usualSettings + "; a denial is not remembered, so that you need not wait", with: map[string]string{fieldDenials: "1ns"},
			send: asViewer, status: 403, says: `user "viewer" may not get nodes/proxy`,
		}, {
			rbac: viewerBound, send: visitor{says: "viewer again, bound to system:kubelet-api-admin", certificate: "viewer", path: logsPath},
			status: 200, says: `ClusterRoleBinding "viewer"`,
		}},
		why: "The kubelet asks the apiserver, in a SubjectAccessReview: may viewer get nodes/proxy of this node? Forbidden (user=…, verb=…, resource=…, subresource=…) is that question, with the answer no. It is authorization: no certificate changes it.",
		try: "kubectl create clusterrolebinding viewer --clusterrole=system:kubelet-api-admin --user=viewer",
	},
	{
		title: "Caches: the cure that seems not to work",
		steps: []step{{
			set: usualSettings + "; a denial is remembered for 5 min here, and for 30 s by default", with: map[string]string{fieldDenials: "5m"},
			send: asViewer, status: 403, says: "may not get nodes/proxy",
		}, {
			rbac: viewerBound, send: visitor{says: "viewer again, bound a moment ago", certificate: "viewer", path: logsPath},
			status: 403, says: "(remembered",
		}, {
			set: "the same, started again: nothing is remembered", with: map[string]string{fieldDenials: "5m"},
			rbac: viewerBound, send: visitor{says: "viewer, bound as before", certificate: "viewer", path: logsPath}, status: 200, says: `ClusterRoleBinding "viewer"`,
		}},
		why: "A denial is remembered for 30 s, a permission for 5 min, a token for 2 min. So a cure takes half a minute to show, and what was taken away works for five minutes more.",
		try: "Wait, before you undo what was right. authorization.webhook.cacheUnauthorizedTTL and cacheAuthorizedTTL, authentication.webhook.cacheTTL.",
	},
	{
		title: "The read-only port",
		claim: "It is said that kube-apiserver --kubelet-https=false makes it use 10255. That flag is gone from kube-apiserver.",
		steps: []step{{
			set: "readOnlyPort, which is 0, off, by default", with: map[string]string{fieldReadOnly: freePort},
			send: visitor{says: "anybody, in plain HTTP", path: "/pods", readOnly: true}, status: 200, says: "nobody was asked",
		}, {
			send:   visitor{says: "anybody, for a log", path: logsPath, readOnly: true},
			status: 405, says: "nobody was asked",
		}, {
			send:   visitor{says: "anybody, who would run a command", method: http.MethodPost, path: "/run/default/nginx/nginx?cmd=id", readOnly: true},
			status: 405, says: "nobody was asked",
		}},
		why: "It has no TLS and asks nobody: everybody who reaches it reads which pods there are, with their environment, and their metrics. Logs, exec and run are not on it: 405, Debug endpoints are disabled.",
		try: "readOnlyPort: 0. What reads it by a token reads 10250 as well.",
	},
	{
		title: "Two recipes",
		steps: []step{{
			set: "development: " + fieldAnonymous + ": true, " + fieldMode + ": AlwaysAllow", with: map[string]string{fieldAnonymous: "true", fieldMode: "AlwaysAllow"},
			send: asNobody, status: 200, says: `user "system:anonymous" may get nodes/proxy`,
		}, {
			set: "production: " + usualSettings, send: asNobody, status: 401, says: "anonymous authentication is off",
		}, {
			send: asViewer, status: 403, says: `user "viewer" may not`,
		}, {
			send: asApiserver, status: 200, says: `ClusterRoleBinding "kubelet-client"`,
		}},
		why: "The first lets everybody do everything, which is of use on a machine that nobody else reaches. The second lets in who is known and bound: a client certificate for the kube-apiserver, tokens for what scrapes, a serving certificate of a CA that the kube-apiserver verifies.",
		try: "fauxlet check, which proves it of your own kube-apiserver; fauxlet probe, of a kubelet.",
	},
}
