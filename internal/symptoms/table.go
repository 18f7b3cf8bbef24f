package symptoms

import "fauxlet/internal/tlserror"

// Proof names a test that has an error happen for its cause.
type Proof string

const (
	// ofGo: between two ends of Go's own net and crypto/tls, which kube-apiserver, kubelet and scrapers are made of.
	ofGo Proof = "internal/symptoms TestErrorsOfGo"
	// ofKubelets: a stand-in answers so.
	ofKubelets Proof = "internal/symptoms TestErrorsOfKubelets"
	// ofKubectl: a real kubectl and kube-apiserver say so, about a stand-in.
	ofKubectl Proof = "e2e/cluster TestKubectlErrorsAreRecognized"
	// ofFaults: so do they of a stand-in with a fault; docs/faults.md has the words.
	ofFaults Proof = "e2e/cluster TestKubectlErrorsOfFaults"
)

// Commands that help with many errors.
const (
	lookAtNode    = "kubectl get node NODE -o jsonpath='{.status.addresses}{\"\\n\"}{.status.daemonEndpoints}{\"\\n\"}'"
	lookAtServing = "openssl s_client -connect {address} -showcerts </dev/null 2>/dev/null | openssl x509 -noout -subject -issuer -dates -ext subjectAltName"
	checkReach    = "fauxlet check --kubeconfig admin.conf --only reach"
	checkClient   = "fauxlet check --kubeconfig admin.conf --client-ca ca.crt --only client,rights"
	checkServing  = "fauxlet check --kubeconfig admin.conf --serving-ca-file ca.crt --serving-ca-key-file ca.key --only serving"
	probe         = "fauxlet probe https://{address}"
)

// Patterns that many share.
const (
	address = `(?P<address>\[?[\w.:%-]+?\]?:\d+)`
	// forbidden is what a kubelet says; before v1.33 it was subresource=proxy, without the list.
	attributes = `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), subresource(?:\(s\))?=\[?(?P<subresource>\w+)[\w ]*\]?\)`
)

// table is ordered: what is particular stands before what is general, and is not looked for again inside of it.
var table = []Symptom{
	// kubectl's own way to the apiserver, which is no kubelet's affair.

	{ID: "kubectl-cannot-connect",
		Texts: []string{"Unable to connect to the server: …", "The connection to the server … was refused - did you specify the right host or port?", `"Couldn't get current server API group list" err="… dial tcp …"`},
		// Before the end kubectl tells each attempt, in words that would otherwise be of the way to a kubelet.
		pattern: `[Cc]ouldn't get current server API group list[^\n]*(?:dial tcp|tls: |x509: |EOF|[Tt]imeout|deadline)[^\n]*|Unable to connect to the server: [^\n]*|The connection to the server (?P<address>\S+) was refused - did you specify the right host or port\?`,
		Meaning: "kubectl does not reach kube-apiserver itself. No kubelet has to do with it",
		Causes: []Cause{
			{"the kubeconfig names another server than the one that runs, or its CA is another's", "kubectl get nodes fails in the same words", "the server and certificate-authority-data of the current context"},
			{"kube-apiserver is down", "curl to its /readyz fails on its own machine too", "start it, and read its log"},
		},
		Next:    []string{"kubectl config view --minify", "kubectl get --raw /readyz"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/24586"}, Proof: ofKubectl},
	{ID: "kubectl-unauthorized",
		Texts:   []string{"error: You must be logged in to the server (Unauthorized)"},
		pattern: `You must be logged in to the server \((?:Unauthorized|the server has asked for the client to provide credentials)\)`,
		Meaning: "kube-apiserver does not know kubectl's own user. No kubelet has to do with it: that error ends in the name of a pod",
		Causes: []Cause{
			{"the credential in the kubeconfig has expired, or is of another cluster", "kubectl get nodes fails in the same words", "a new kubeconfig: kubeadm kubeconfig user, or your cloud's login"},
		},
		Next:  []string{"kubectl auth whoami", "kubectl config view --minify --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d | openssl x509 -noout -subject -dates"},
		Proof: ofKubectl},
	{ID: "kubectl-forbidden",
		Texts:   []string{`Error from server (Forbidden): … is forbidden: User "…" cannot get resource "pods/log"`},
		pattern: `is forbidden: User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"[^\n]*`,
		Meaning: `kube-apiserver does not let kubectl's own user "{user}" {verb} {resource}. No kubelet has to do with it: what a kubelet forbids begins with "Forbidden (user="`,
		Causes: []Cause{
			{"the user has no role for that", "kubectl auth can-i says no", "a Role or ClusterRole with {resource}, and a binding to the user: view has pods/log, edit has pods/exec"},
		},
		Next:    []string{"kubectl auth can-i {verb} {resource} --as={user}"},
		Reports: []string{"https://github.com/kubernetes/k8s.io/pull/801"}, Proof: ofKubectl},

	{ID: "no-such-pod",
		Texts:   []string{`Error from server (NotFound): pods "…" not found`},
		pattern: `\(NotFound\): pods "(?P<pod>[^"]*)" not found`,
		Meaning: `kube-apiserver has no pod {pod} in that namespace. No kubelet was asked`,
		Causes: []Cause{
			{"it is in another namespace", "kubectl get pods -A has it", "-n NAMESPACE"},
			{"it is gone, and another is in its place", "kubectl get pods has one with the same beginning", "that one's name; or that of its owner, as in deploy/NAME"},
		},
		Next:  []string{"kubectl get pods -A --field-selector metadata.name={pod}", "kubectl config view --minify -o jsonpath='{..namespace}'"},
		Proof: ofKubectl},

	// The way to the kubelet.

	{ID: "connection-refused",
		Texts:   []string{"dial tcp …:10250: connect: connection refused"},
		pattern: `dial tcp ` + address + `: (?:connect|getsockopt): connection refused`,
		Meaning: "there is a machine at {address}, and nothing listens on that port",
		Causes: []Cause{
			{"the kubelet does not run", "kubectl get nodes says NotReady; on the node, systemctl status kubelet", "start it, and read why it ended: journalctl -u kubelet"},
			{"the Node tells another port or address than the kubelet's", "status.daemonEndpoints and status.addresses are not what ss -ltnp shows on the node", "the kubelet's port, address and --node-ip"},
			{"the kubelet listens on loopback alone", "ss -ltnp on the node shows 127.0.0.1:10250", "address: 0.0.0.0 in the KubeletConfiguration"},
			{"a scraper still asks the read-only port", "the port is 10255", "ask 10250 with a token: readOnlyPort is 0 by default"},
		},
		Next:    []string{"kubectl get nodes -o wide", lookAtNode, "ssh NODE ss -ltnp", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/40817"}, Proof: ofGo},
	{ID: "timeout",
		Texts:   []string{"dial tcp …:10250: i/o timeout", "net/http: TLS handshake timeout"},
		pattern: `dial tcp ` + address + `: (?:i/o timeout|(?:connect|getsockopt): connection timed out)|net/http: TLS handshake timeout|context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)`,
		Meaning: "nobody answers at {address}: what is sent there is lost on the way, or lies unread",
		Causes: []Cause{
			{"a firewall, a security group or a NetworkPolicy drops what goes to port 10250", "from the apiserver's machine nc -vz fails as slowly; ping may work", "allow TCP 10250 from the control plane, and from where scrapers run, to the nodes"},
			{"the Node's address is one that the apiserver has no way to (that of a NAT, of another network card)", "another of the addresses in status.addresses can be reached", "--node-ip of the kubelet, or --kubelet-preferred-address-types of kube-apiserver"},
			{"the node hangs, or is gone", "kubectl get nodes says NotReady, and its Lease is old", "the node"},
		},
		Next:    []string{lookAtNode, "nc -vz -w 3 HOST 10250", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/107186"}, Proof: ofGo},
	{ID: "no-route",
		Texts:   []string{"dial tcp …:10250: connect: no route to host"},
		pattern: `dial tcp ` + address + `: (?:connect|getsockopt): (?:no route to host|network is unreachable)`,
		Meaning: "the apiserver's machine knows no way to {address}, or somebody on the way says that there is none",
		Causes: []Cause{
			{"the node is off, or has another address by now", "kubectl get nodes says NotReady; ping fails", "the node, and its address in status.addresses"},
			{"the node's own firewall rejects port 10250 with an ICMP answer", "ping works; firewalld or iptables on the node has a REJECT", "firewall-cmd --permanent --add-port=10250/tcp && firewall-cmd --reload"},
			{"a route is missing between the two networks", "ip route get ADDRESS fails on the apiserver's machine", "the route, or another address type in --kubelet-preferred-address-types"},
		},
		Next:    []string{lookAtNode, "ip route get HOST", checkReach},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/62511"}, Proof: ofKubectl},
	{ID: "no-such-host",
		Texts:   []string{"dial tcp: lookup node-1 on …: no such host"},
		pattern: `dial tcp: lookup (?P<host>[^\s:]+)(?: on (?P<resolver>\S+))?: (?:no such host|server misbehaving|Temporary failure in name resolution|i/o timeout)[^\n"]*`,
		Meaning: "nodes are dialled by name, and {host} is in no DNS that the caller asks",
		Causes: []Cause{
			{"kube-apiserver prefers the Node's Hostname, which is its default", "--kubelet-preferred-address-types is not among kube-apiserver's flags", "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname; metrics-server has a flag of that name"},
			{"the Node has no address but its name", "status.addresses has the type Hostname alone", "--node-ip of the kubelet"},
			{"names of nodes are meant to be in DNS, and this one is not", "host {host} fails on the apiserver's machine", "the DNS record, or /etc/hosts where the apiserver runs"},
		},
		Next:    []string{lookAtNode, "host {host}", "fauxlet check --kubeconfig admin.conf --only reach.usual,reach.order,reach.names"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/22770"}, Proof: ofGo},
	{ID: "no-preferred-addresses",
		Texts:   []string{"no preferred addresses found; known addresses: []"},
		pattern: `no preferred addresses found; known addresses: (?P<known>\[[^\n]*\])`,
		Meaning: "the Node has no address of a type that is looked for. It has {known}",
		Causes: []Cause{
			{"the kubelet has not told its addresses yet, or waits for a cloud provider to do it", "status.addresses is empty; the Node has the taint node.cloudprovider.kubernetes.io/uninitialized", "the cloud-controller-manager; or --node-ip without --cloud-provider=external"},
			{"--kubelet-preferred-address-types names types alone that the Node does not have", "status.addresses has others", "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"},
		},
		Next:    []string{lookAtNode, "fauxlet check --kubeconfig admin.conf --only reach.usual,reach.order"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/45583"}, Proof: ofKubectl},
	{ID: "address-not-allowed",
		Texts:   []string{"address not allowed"},
		pattern: `address not allowed`,
		Meaning: "kube-apiserver's proxy to nodes and pods does not go to loopback and link-local addresses, whoever asks for it",
		Causes: []Cause{
			{"the Node's address is 127.0.0.1: everything runs on one machine", "status.addresses says so; kubectl logs, which is no proxy, works all the same", "--node-ip of the kubelet: an address of the machine that is not loopback"},
			{"the Node's name is looked up, and leads to 127.0.0.1 or 127.0.1.1", "getent hosts NODE on the apiserver's machine", "/etc/hosts there, or --kubelet-preferred-address-types=InternalIP"},
		},
		Next:  []string{lookAtNode, "getent hosts NODE"},
		Proof: ofKubectl},
	{ID: "proxy-refuses",
		Texts:   []string{`Get "https://…:10250/…": Forbidden`},
		pattern: `(?:Get|Post) "?https://` + address + `/[^"\s]*"?: (?:Forbidden|Bad Gateway|Service Unavailable|Proxy Authentication Required)`,
		Meaning: "an HTTP proxy on the way was asked to connect with {address}, and refused: no kubelet was reached",
		Causes: []Cause{
			{"kube-apiserver runs with HTTPS_PROXY, and NO_PROXY does not have the nodes", "the environment of its process or static pod", "the nodes' network in NO_PROXY"},
			{"k3s and others reach nodes through a tunnel of their own, which does not have this one", "the log of the server and of the node's agent", "start the agent again, and see that it reaches the server; by k3s's --egress-selector-mode"},
		},
		Next:    []string{"kubectl -n kube-system get pod -l component=kube-apiserver -o yaml | grep -i -A1 proxy", "tr '\\0' '\\n' </proc/$(pgrep kube-apiserver)/environ | grep -i proxy"},
		Reports: []string{"https://github.com/k3s-io/k3s/issues/6123", "https://github.com/kubernetes/kubernetes/issues/98852"}, Proof: ofGo},

	// A client certificate that a kubelet does not accept, in the kubelet's log. Its words are those of serving certificates too.

	{ID: "client-certificate-refused",
		Texts:   []string{`"Unable to authenticate the request due to an error" err="verifying certificate SN=… failed: x509: …"`},
		pattern: `verifying certificate SN=[^\n]*?failed: x509: (?P<fault>[^\n"\]]*)`,
		Meaning: "a kubelet refuses the certificate of its client (401): {fault}",
		Causes: []Cause{
			{"kube-apiserver's kubelet client certificate has expired", "the words have expired in them; openssl x509 -noout -dates of --kubelet-client-certificate", "kubeadm certs renew apiserver-kubelet-client, and start kube-apiserver again"},
			{"its CA is not in the kubelet's clientCAFile", "the words have unknown authority in them; openssl verify -CAfile with the kubelet's file", "a certificate of that CA, or that CA too in clientCAFile, which is read again without a restart"},
			{"it is a serving certificate", "the words have key usage in them", "one with the extended key usage clientAuth"},
		},
		Next:    []string{"openssl x509 -in kubelet-client.crt -noout -subject -issuer -dates -ext extendedKeyUsage", "openssl verify -CAfile ca.crt -purpose sslclient kubelet-client.crt", "fauxlet explain --config kubelet.yaml --client-cert kubelet-client.crt /pods", checkClient},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/63128"}, Proof: ofGo},
	{ID: "token-refused",
		Texts:   []string{`"Unable to authenticate the request due to an error" err="…invalid bearer token…"`},
		pattern: `invalid bearer token[^\n"\]]*|token lookup failed[^\n"\]]*`,
		Meaning: "the apiserver was asked about a client's bearer token, and does not know it (401)",
		Causes: []Cause{
			{"the token has expired, or is of another cluster", "its payload says exp and iss: cut -d. -f2 token | base64 -d", "kubectl create token SERVICE-ACCOUNT; a client in a pod must read its file anew, which changes every hour"},
			{"its service account, or the pod that it is bound to, is gone", "kubectl get serviceaccount", "make it again, and take a new token"},
			{"it is for another audience than the apiserver's", "aud in its payload", "a token without --audience, or with that of --api-audiences"},
		},
		Next:    []string{"kubectl create token SERVICE-ACCOUNT", "kubectl auth whoami --token=\"$(cat token)\""},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/66311"}, Proof: ofKubelets},

	// The kubelet's serving certificate, in the words of its client.

	{ID: "weak-signature",
		Texts:   []string{`x509: certificate signed by unknown authority (possibly because of "x509: cannot verify signature: insecure algorithm …"`},
		pattern: `x509: certificate signed by unknown authority \(possibly because of "x509: cannot verify signature: insecure algorithm (?P<algorithm>[\w-]+)[^\n]*|x509: cannot verify signature: insecure algorithm (?:[\w-]+)`,
		Meaning: "the kubelet's serving certificate is signed with {algorithm}, which is not accepted any more",
		Causes: []Cause{
			{"it was made long ago, or by a tool whose default is SHA-1", "openssl x509 -noout -text says sha1With… or ecdsa-with-SHA1", "make it anew with SHA-256, and the CA's own too if that is so"},
		},
		Next: []string{lookAtServing, checkServing}, Proof: ofGo},
	{ID: "unknown-authority-other-key",
		Texts:   []string{`x509: certificate signed by unknown authority (possibly because of "…" while trying to verify candidate authority certificate "…")`},
		pattern: `x509: certificate signed by unknown authority \(possibly because of "[^"\n]*verification (?:failure|error)" while trying to verify candidate authority certificate "(?P<ca>[^"\n]*)"\)`,
		Meaning: `the caller trusts a CA of the name "{ca}", and this is not its signature: there are two CAs of that name`,
		Causes: []Cause{
			{"the CA was made anew, and one end still has the old one", "openssl x509 -noout -fingerprint of both files differs", "one CA at both ends: --kubelet-certificate-authority of kube-apiserver, and a new serving certificate of the kubelet"},
		},
		Next: []string{lookAtServing, "openssl x509 -in ca.crt -noout -subject -fingerprint"}, Proof: ofGo},
	{ID: "unknown-authority",
		Texts:   []string{"x509: certificate signed by unknown authority"},
		pattern: `x509: certificate signed by unknown authority`,
		Meaning: "the caller does not trust who signed the serving certificate: --kubelet-certificate-authority is not the CA of the kubelet's",
		Causes: []Cause{
			{"the kubelet serves a self-signed pair, as it does by itself", "the issuer is NODE-ca@TIME", "serverTLSBootstrap: true and kubectl certificate approve, or tlsCertFile and tlsPrivateKeyFile of the CA"},
			{"--kubelet-certificate-authority is another CA than the kubelets'", "the issuer is a CA of yours, and another", "--kubelet-certificate-authority=ca.crt of the CA that signed; the file may have several"},
			{"the certificate is of an intermediate CA, and tlsCertFile does not have that", "the issuer is an intermediate; -showcerts shows one certificate", "append the intermediate's certificate to tlsCertFile"},
		},
		Next:    []string{lookAtServing, "openssl verify -CAfile ca.crt kubelet.crt", checkServing, probe},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/14097"}, Proof: ofGo},
	{ID: "no-ip-sans",
		Texts:   []string{"x509: cannot validate certificate for … because it doesn't contain any IP SANs"},
		pattern: `x509: cannot validate certificate for (?P<host>[^\s]+) because it doesn't contain any IP SANs`,
		Meaning: "the kubelet is reached by the address {host}, and its serving certificate has names alone, or nothing",
		Causes: []Cause{
			{"the kubelet serves a self-signed pair, which is for its host name alone", "the issuer is NODE-ca@TIME", "serverTLSBootstrap: true and kubectl certificate approve, which gives one with the Node's addresses"},
			{"it was made by hand without the address", "subjectAltName has DNS entries alone", "make it anew with IP:{host} among its subject alternative names"},
			{"nodes are meant to be dialled by name", "the certificate has the Node's name", "--kubelet-preferred-address-types=Hostname,InternalIP, where names can be looked up"},
		},
		Next:    []string{"openssl s_client -connect {host}:10250 </dev/null 2>/dev/null | openssl x509 -noout -issuer -ext subjectAltName", "fauxlet certs server NODE --dir pki --host {host}", checkServing},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/62939", "https://github.com/kubernetes-sigs/metrics-server/issues/196", "https://github.com/kubernetes-sigs/metrics-server/issues/1588"}, Proof: ofGo},
	{ID: "common-name-alone",
		Texts:   []string{"x509: certificate relies on legacy Common Name field, use SANs instead"},
		pattern: `x509: certificate relies on legacy Common Name field, use SANs(?: or temporarily enable Common Name matching[^\n"]*| instead)?`,
		Meaning: "the serving certificate has its name as common name alone, which nobody looks at since Go 1.15",
		Causes: []Cause{
			{"it was made with -subj /CN=NODE and nothing else", "openssl x509 -noout -ext subjectAltName prints nothing", "make it anew with subjectAltName=DNS:NODE,IP:ADDRESS"},
		},
		Next: []string{lookAtServing, "fauxlet certs server NODE --dir pki --host NODE --host ADDRESS"}, Proof: ofGo},
	{ID: "wrong-name",
		Texts:   []string{"x509: certificate is valid for …, not …"},
		pattern: `x509: certificate is (?:valid for (?P<valid>[^\n"]*?)|not valid for any names, but wanted to match|not valid for any names), ?(?:not )?(?P<host>[\w.:-]+)`,
		Meaning: "the serving certificate is for {valid}, and the kubelet is reached as {host}",
		Causes: []Cause{
			{"the node has another address or name since the certificate was made", "{host} is in status.addresses, and not among the certificate's", "with serverTLSBootstrap a request for a new one waits: kubectl get csr, kubectl certificate approve; by hand, make it anew"},
			{"two nodes have one certificate, copied", "it is for the name of another node", "one for each node"},
			{"the client certificate is served (system:node:NODE)", "the subject is system:node:NODE, and there is no subject alternative name of a host", "tlsCertFile: a certificate of its own"},
		},
		Next:    []string{lookAtServing, lookAtNode, "kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving"},
		Reports: []string{"https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/146"}, Proof: ofGo},
	{ID: "not-yet-valid",
		Texts:   []string{"x509: certificate has expired or is not yet valid: current time … is before …"},
		pattern: `x509: certificate has expired or is not yet valid: current time (?P<now>\S+) is before (?P<begins>[^\s"]+)`,
		Meaning: "the serving certificate begins to be valid at {begins}, and by the caller's clock it is {now}",
		Causes: []Cause{
			{"the caller's clock is behind, or the clock of whoever made the certificate was ahead", "date on both machines", "time synchronisation: chrony, systemd-timesyncd"},
			{"the certificate is for later", "notBefore is what was meant", "wait, or make another"},
		},
		Next: []string{lookAtServing, "timedatectl"}, Proof: ofGo},
	{ID: "expired",
		Texts:   []string{"x509: certificate has expired or is not yet valid: current time … is after …"},
		pattern: `x509: certificate has expired or is not yet valid(?:: current time (?P<now>\S+) is after (?P<ended>[^\s"]+))?`,
		Meaning: "the kubelet's serving certificate, or a CA above it, has ended",
		Causes: []Cause{
			{"with serverTLSBootstrap the request for the next one waits for somebody to approve it", "kubectl get csr shows Pending ones of that node", "kubectl certificate approve NAME"},
			{"a certificate made by hand, or the self-signed pair, is a year old", "notAfter; the issuer", "make it anew: tlsCertFile is read again without a restart; for a self-signed pair remove kubelet.crt and kubelet.key, and start the kubelet again"},
			{"the caller's clock is ahead", "date on both machines", "time synchronisation"},
		},
		Next: []string{lookAtServing, "kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving", checkServing}, Proof: ofGo},
	{ID: "wrong-usage",
		Texts:   []string{"x509: certificate specifies an incompatible key usage"},
		pattern: `x509: certificate specifies an incompatible key usage`,
		Meaning: "the serving certificate is not for servers",
		Causes: []Cause{
			{"the kubelet's client certificate is served", "the extended key usage is TLS Web Client Authentication alone", "one with serverAuth for tlsCertFile; kubelet-client-current.pem is not that"},
		},
		Next: []string{"openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -subject -ext extendedKeyUsage", checkServing}, Proof: ofGo},
	{ID: "any-x509",
		Texts:   []string{"x509: …"},
		pattern: `x509: [^\n"]+`,
		Meaning: "a certificate was not accepted, for a reason that is in the words themselves",
		Causes: []Cause{
			{"the serving certificate, where the caller says it; the client's, where a kubelet's log says it", "who wrote the line", "fauxlet explain tells all that is wrong with a client certificate; openssl x509 -text shows the rest"},
		},
		Next: []string{lookAtServing, "fauxlet explain --config kubelet.yaml --client-cert client.crt /pods"}, Proof: ofGo},

	// The TLS handshake.

	{ID: "no-serving-certificate",
		Texts:   []string{"TLS handshake error from …: no serving certificate available for the kubelet"},
		pattern: `(?:TLS handshake error from ` + address + `: )?no (?:serving )?certificate available(?: for the kubelet)?`,
		Meaning: "the kubelet has serverTLSBootstrap, and the certificate that it has asked for has not been issued; clients meet remote error: tls: internal error",
		Causes: []Cause{
			{"nobody has approved its request: kube-controller-manager never approves those for serving certificates", "kubectl get csr shows it Pending", "kubectl certificate approve NAME, or a controller that does it"},
			{"the request was denied, or the signer failed", "kubectl get csr shows Denied, Failed, or Approved without Issued", "kubectl describe csr; --cluster-signing-cert-file and -key-file of kube-controller-manager"},
			{"the kubelet may not ask", "its log has certificatesigningrequests is forbidden", "its credential must be a node's: system:node:NODE of system:nodes"},
		},
		Next:    []string{"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving", "kubectl certificate approve NAME"},
		Reports: []string{"https://github.com/kubernetes/kubeadm/issues/591", "https://github.com/kubernetes/kubernetes/issues/73356"}, Proof: ofGo},
	{ID: "internal-error",
		Texts:   []string{"remote error: tls: internal error"},
		pattern: tlserror.Pattern(tlserror.InternalError),
		Meaning: "the kubelet has ended the handshake: it has no serving certificate to show",
		Causes: []Cause{
			{"serverTLSBootstrap is true, and nobody has approved the kubelet's request", "kubectl get csr shows it Pending; the kubelet's log says no serving certificate available for the kubelet", "kubectl certificate approve NAME"},
			{"the request was denied, or not signed", "kubectl get csr shows Denied, or Approved without Issued", "kubectl describe csr NAME"},
		},
		Next:    []string{"kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving", "kubectl certificate approve NAME", "fauxlet check --kubeconfig admin.conf --approve-serving-certificate --only serving.accepted"},
		Reports: []string{"https://github.com/kubernetes/kubeadm/issues/591", "https://github.com/kubernetes/kubernetes/issues/73356"}, Proof: ofGo},
	{ID: "bad-certificate",
		Texts:   []string{"TLS handshake error from …: remote error: tls: bad certificate"},
		pattern: `(?:TLS handshake error from ` + address + `: )?` + tlserror.Pattern(tlserror.UnknownAuthority, tlserror.ExpiredCertificate, tlserror.BadCertificate),
		Meaning: "in a kubelet's log: its client does not accept the kubelet's serving certificate. Why, the client's own error says",
		Causes: []Cause{
			{"the serving certificate is of a CA that the client does not trust, or not for the address that it dials", "kubectl logs, or the log of the client at {address}, says x509: …", "what that error says; give it to fauxlet explain --error"},
			{"it is a client's word about a client certificate: then the client's own log has it", "the line is of kube-apiserver or of a scraper", "the same, at the other end"},
		},
		Next:    []string{"kubectl logs POD", "fauxlet explain --error \"$(kubectl logs POD 2>&1)\"", checkServing},
		Reports: []string{"https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/358"}, Proof: ofGo},
	{ID: "handshake-eof",
		Texts:   []string{"TLS handshake error from …: EOF"},
		pattern: `TLS handshake error from ` + address + `: (?:read tcp [^\n]*: (?:read: )?)?` + tlserror.Pattern(tlserror.ConnectionClosed, tlserror.ConnectionReset),
		Meaning: "somebody at {address} opened a connection, and closed it before the handshake was through",
		Causes: []Cause{
			{"a load balancer or a monitor looks whether the port is open", "the address is theirs, and the lines come at regular times", "nothing; or have them ask /healthz"},
			{"a client gave up, by a timeout of its own", "the client's log at that time", "a node that has CPU left for handshakes"},
		},
		Next: []string{"fauxlet watch"}, Proof: ofGo},
	{ID: "http-to-https",
		Texts:   []string{"Client sent an HTTP request to an HTTPS server."},
		pattern: `(?i)` + tlserror.Pattern(tlserror.PlainHTTP) + `|malformed HTTP response "\\x15\\x03[^\n]*`,
		Meaning: "plain HTTP was sent to the kubelet's secure port",
		Causes: []Cause{
			{"the client has http:// where it must have https://", "its configuration: Prometheus's scheme, a probe's scheme", "scheme: https, and a credential: 10250 asks everybody"},
			{"it was meant for the read-only port", "it asks /metrics or /pods without a credential", "10250 with a token, or readOnlyPort: 10255, which shows everybody the pods of the node"},
		},
		Next: []string{"curl -k https://{address}/healthz", probe}, Proof: ofGo},
	{ID: "https-to-http",
		Texts:   []string{"http: server gave HTTP response to HTTPS client"},
		pattern: `http: server gave HTTP response to HTTPS client|` + tlserror.Pattern(tlserror.NotTLS),
		Meaning: "TLS was spoken to a port that speaks plain HTTP",
		Causes: []Cause{
			{"the port is the read-only one (10255) or the healthz port (10248)", "the port in the address", "10250, or http://"},
			{"the Node tells the wrong port", "status.daemonEndpoints.kubeletEndpoint.Port is not the kubelet's port", "the kubelet's port"},
			{"another program has the port", "curl http:// to it shows what it is", "that program"},
		},
		Next: []string{lookAtNode, "curl -i http://HOST:PORT/"}, Proof: ofGo},
	{ID: "protocol-version",
		Texts:   []string{"remote error: tls: protocol version not supported"},
		pattern: tlserror.Pattern(tlserror.UnsupportedVersion, tlserror.NoCipherSuite) + `(?:: \[[^\n"]*)?`,
		Meaning: "the two have no TLS version, or no cipher suite, in common",
		Causes: []Cause{
			{"tlsMinVersion of the kubelet is above what the client speaks", "tlsMinVersion: VersionTLS13 and an old client", "tlsMinVersion: VersionTLS12, or a newer client"},
			{"tlsCipherSuites of the kubelet has none that the client has, or none for the kind of the certificate's key", "tlsCipherSuites is set", "leave it out, or name ECDHE suites for RSA and ECDSA"},
		},
		Next: []string{"openssl s_client -connect {address} -tls1_2 </dev/null", "fauxlet check --kubeconfig admin.conf --only tls", probe}, Proof: ofGo},
	{ID: "connection-reset",
		Texts:   []string{"read: connection reset by peer"},
		pattern: `connection reset by peer`,
		Meaning: "somebody has torn the connection down",
		Causes: []Cause{
			{"a firewall or a load balancer on the way does so, at once or after some idle time", "at once: each time; after idle time: kubectl logs -f of a quiet container", "the firewall; for idle time its timeout, or more often something to say"},
			{"the kubelet was stopped or killed meanwhile", "kubectl get nodes; journalctl -u kubelet", "the kubelet"},
		},
		Next: []string{checkReach, "journalctl -u kubelet --since -10min"}, Proof: ofGo},
	{ID: "eof",
		Texts:   []string{`Get "https://…:10250/…": EOF`, `unexpected EOF`},
		pattern: `https?://` + address + `/[^"\s]*"?: (?:EOF|http: server closed idle connection)|unexpected EOF`,
		Meaning: "the connection ended before the answer did",
		Causes: []Cause{
			{"the kubelet, or what it forwards to, went away in the middle", "journalctl -u kubelet at that time; kubectl get nodes", "the kubelet"},
			{"something on the way closes connections, a proxy for one", "at the same size or after the same time each time", "what is on the way"},
		},
		Next: []string{"journalctl -u kubelet --since -10min", checkReach}, Proof: ofGo},

	// Who are you? 401.

	{ID: "upgrade-unauthorized",
		Texts:   []string{"error: unable to upgrade connection: Unauthorized"},
		pattern: `unable to upgrade connection: Unauthorized`,
		Meaning: "the kubelet does not know who asks for exec, attach or port-forward (401)",
		Causes:  causesOfUnauthorized,
		Next:    nextOfUnauthorized,
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/63128"}, Proof: ofKubectl},
	{ID: "unauthorized",
		Texts:   []string{"error: You must be logged in to the server (the server has asked for the client to provide credentials ( pods/log …))"},
		pattern: `the server has asked for the client to provide credentials \( ?(?P<resource>[\w./]+)[^)\n]*\)\)?`,
		Meaning: "the kubelet does not know who asks (401). It is about kube-apiserver's credential for kubelets, and not about yours",
		Causes:  causesOfUnauthorized,
		Next:    nextOfUnauthorized,
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/63128", "https://github.com/kubernetes/kubernetes/issues/61900"}, Proof: ofKubectl},
	{ID: "scraper-unauthorized",
		Texts:   []string{`request failed, status: "401 Unauthorized"`, `server returned HTTP status 401 Unauthorized`},
		pattern: `request failed(?:, status:| -) "401 Unauthorized"[^\n]*|server returned HTTP status 401[^\n]*|HTTP/[\d.]+ 401 Unauthorized`,
		Meaning: "the kubelet does not know who asks for its metrics (401)",
		Causes: []Cause{
			{"the kubelet does not look at tokens", "authentication.webhook.enabled is false, or the kubelet runs with flags alone", "authentication: {webhook: {enabled: true}} (--authentication-token-webhook)"},
			{"the scraper sends no token", "Prometheus: no authorization.credentials_file; curl: no header", "authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}"},
			{"the token has expired or is of another cluster", "a static file was mounted; the apiserver's answer to a TokenReview", "a projected token, which is renewed"},
			{"the kubelet cannot ask the apiserver about tokens", "its log: Failed to make webhook authenticator request", "its kubeconfig; its user must be allowed to create tokenreviews"},
		},
		Next:    []string{"curl -sk -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)\" https://NODE:10250/metrics/resource", "kubectl get --raw /api/v1/nodes/NODE/proxy/configz | jq .kubeletconfig.authentication", "fauxlet probe https://NODE:10250 --ca ca.crt --as scraper=token-file:token"},
		Reports: []string{"https://github.com/kubernetes-sigs/metrics-server/issues/144", "https://github.com/kubernetes-sigs/metrics-server/issues/212", "https://github.com/prometheus/prometheus/issues/5185"}, Proof: ofKubelets},

	// May you? 403, and 500 where nobody could say.

	{ID: "forbidden-anonymous",
		Texts:   []string{"Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>system:anonymous)` + attributes,
		Meaning: "the kubelet takes its client for nobody in particular, which it is allowed to, and nobody in particular may {verb} {resource}/{subresource} (403)",
		Causes: []Cause{
			{"kube-apiserver has no credential for kubelets, and anonymous is on", "--kubelet-client-certificate is not among its flags", "--kubelet-client-certificate and --kubelet-client-key, of a CA in the kubelet's clientCAFile"},
			{"the kubelet has no clientCAFile, and so asks for no certificate", "kubectl get --raw …/configz, authentication.x509", "authentication: {x509: {clientCAFile: ca.crt}}"},
			{"a scraper sends a token, and the kubelet does not look at tokens", "authentication.webhook.enabled is false", "authentication: {webhook: {enabled: true}}"},
		},
		Next:    []string{"fauxlet check --kubeconfig admin.conf --client-ca ca.crt --only client.presented,client.trusted", "kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as=system:anonymous"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/55872", "https://github.com/kubernetes/kubectl/issues/139"}, Proof: ofKubectl},
	{ID: "forbidden-node",
		Texts:   []string{"Forbidden (user=system:node:…, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>system:node:[^,\s]+)` + attributes,
		Meaning: "the client shows a node's own certificate, {user}, and a node may not {verb} {resource}/{subresource} of a kubelet (403)",
		Causes: []Cause{
			{"kube-apiserver was given a kubelet's certificate as --kubelet-client-certificate", "openssl x509 -noout -subject says O = system:nodes", "a certificate of its own: CN=kube-apiserver-kubelet-client"},
			{"somebody tries the kubelet's credential by hand", "curl with /var/lib/kubelet/pki/kubelet-client-current.pem", "the apiserver's, or a token"},
		},
		Next: []string{"openssl x509 -in kubelet-client.crt -noout -subject", "fauxlet check --kubeconfig admin.conf --only client.subject,rights"}, Proof: ofKubelets},
	{ID: "forbidden-service-account",
		Texts:   []string{"Forbidden (user=system:serviceaccount:…, verb=get, resource=nodes, subresource(s)=[metrics])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>system:serviceaccount:(?P<account>[^,\s]+))` + attributes,
		Meaning: "the token is good, and the service account {account} may not {verb} {resource}/{subresource} (403)",
		Causes: []Cause{
			{"its ClusterRole lacks {resource}/{subresource}: nodes alone is not enough, and nodes/proxy is not metrics", "kubectl auth can-i says no", "{resource}/{subresource} with the verb {verb} in its ClusterRole"},
			{"the binding names another service account or namespace, or is a RoleBinding", "kubectl get clusterrolebinding -o wide", "a ClusterRoleBinding with --serviceaccount={account}"},
			{"the right was given a moment ago", "can-i says yes, and it goes on for no longer than 30 s", "wait: a denial is remembered for authorization.webhook.cacheUnauthorizedTTL"},
		},
		Next:    []string{"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}", "kubectl create clusterrole kubelet-{subresource} --verb={verb} --resource={resource}/{subresource}", "kubectl create clusterrolebinding kubelet-{subresource} --clusterrole=kubelet-{subresource} --serviceaccount={account}"},
		Reports: []string{"https://github.com/prometheus-operator/prometheus-operator/pull/1677", "https://github.com/kubernetes-sigs/metrics-server/issues/95"}, Proof: ofKubelets},
	{ID: "forbidden-subresource",
		Texts:   []string{"Forbidden (user=…, verb=get, resource=nodes, subresource(s)=[stats])", "Forbidden (user=…, verb=get, resource=nodes, subresource(s)=[pods proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>[^,\n]*), verb=(?P<verb>\w*), resource=(?P<resource>\w+), subresource(?:\(s\))?=\[?(?P<subresource>stats|metrics|log|pods|healthz|configz|statusz|checkpoint)[\w ]*\]?\)`,
		Meaning: "the kubelet knows its client, {user}, who may not {verb} {resource}/{subresource} (403). Where two are named, either would do",
		Causes: []Cause{
			{"the user is bound to a role without {resource}/{subresource}", "kubectl auth can-i says no", "a role with that, or system:kubelet-api-admin, which has all but statusz and checkpoint"},
			{"the role has it as {subresource}, or as nodes/*, neither of which means anything", "kubectl get clusterrole -o yaml", "resources: [{resource}/{subresource}]"},
		},
		Next:  []string{"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}", "kubectl create clusterrole kubelet-{subresource} --verb={verb} --resource={resource}/{subresource}", "kubectl create clusterrolebinding kubelet-{subresource} --clusterrole=kubelet-{subresource} --user={user}"},
		Proof: ofKubelets},
	{ID: "forbidden",
		Texts:   []string{"Forbidden (user=kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy])"},
		pattern: `(?:unable to upgrade connection: )?Forbidden \(user=(?P<user>[^,\n]*)` + attributes,
		Meaning: "the kubelet knows its client, {user}, who may not {verb} {resource}/{subresource} (403). The client is kube-apiserver, and not you",
		Causes: []Cause{
			{"kube-apiserver's user for kubelets is bound to nothing", "kubectl auth can-i says no", "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user={user}"},
			{"the certificate has another common name, or lacks the organization that was bound", "openssl x509 -noout -subject of --kubelet-client-certificate", "bind {user}, or make the certificate anew"},
			{"the binding was made a moment ago", "can-i says yes, and it goes on for no longer than 30 s", "wait: a denial is remembered for authorization.webhook.cacheUnauthorizedTTL"},
			{"the kubelet asks another apiserver than you look at", "its --kubeconfig", "that"},
		},
		Next:    []string{"kubectl auth can-i {verb} {resource}/NODE --subresource={subresource} --as={user}", "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user={user}", "fauxlet check --kubeconfig admin.conf --only rights"},
		Reports: []string{"https://github.com/kubernetes/kubernetes/issues/56277"}, Proof: ofKubectl},
	{ID: "scraper-forbidden",
		Texts:   []string{`request failed, status: "403 Forbidden"`, `server returned HTTP status 403 Forbidden`},
		pattern: `request failed(?:, status:| -) "403 Forbidden"[^\n]*|server returned HTTP status 403[^\n]*|HTTP/[\d.]+ 403 Forbidden`,
		Meaning: "the kubelet knows who asks for its metrics, and that one may not (403). The kubelet's own answer says who it is, and what it lacks",
		Causes: []Cause{
			{"the scraper's ClusterRole lacks nodes/metrics", "curl with its token shows Forbidden (user=…, subresource(s)=[metrics])", "nodes/metrics with the verb get; nodes/stats for /stats/summary"},
			{"the scraper sends no token, or one that nobody reads, and anonymous is on", "curl shows user=system:anonymous", "the token in its configuration, and authentication.webhook.enabled: true"},
		},
		Next:    []string{"curl -sk -H \"Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)\" https://NODE:10250/metrics", "kubectl auth can-i get nodes/NODE --subresource=metrics --as=system:serviceaccount:NAMESPACE:NAME"},
		Reports: []string{"https://github.com/prometheus/prometheus/issues/5334", "https://github.com/prometheus-operator/prometheus-operator/issues/867"}, Proof: ofKubelets},
	{ID: "authorization-error",
		Texts:   []string{"Authorization error (user=…, verb=get, resource=nodes, subresource=proxy)"},
		pattern: `Authorization error \(user=(?P<user>[^,\n]*)` + attributes,
		Meaning: "the kubelet knows its client, {user}, and could not find out what that one may (500)",
		Causes: []Cause{
			{"the kubelet does not reach its apiserver", "kubectl get nodes says NotReady after 40 s; its log: connection refused, i/o timeout", "the apiserver, or the server in the kubelet's kubeconfig"},
			{"the kubelet's own user may not create subjectaccessreviews", "its log: subjectaccessreviews.authorization.k8s.io is forbidden", "a node's credential (system:node:NODE of system:nodes), or a binding to system:auth-delegator"},
			{"the kubelet's own credential has expired", "its log: Unauthorized; openssl x509 -noout -dates of kubelet-client-current.pem", "rotateCertificates: true, or join the node again"},
		},
		Next: []string{"journalctl -u kubelet --since -10min | grep -i webhook", "kubectl auth can-i create subjectaccessreviews.authorization.k8s.io --as=system:node:NODE --as-group=system:nodes"}, Proof: ofKubelets},
	{ID: "reviewer-failed",
		Texts:   []string{"Failed to make webhook authenticator request", "Failed to make webhook authorizer request"},
		pattern: `Failed to make webhook (?P<which>authenticator|authorizer) request:?[^\n]*`,
		Meaning: "in a kubelet's log: the apiserver was asked about a client, and did not answer. The client gets 401 for a token, 500 for a right",
		Causes: []Cause{
			{"the apiserver is away, or the kubeconfig names another", "connection refused or i/o timeout in the same line", "the apiserver, or the server in the kubelet's kubeconfig"},
			{"the kubelet's user may not create the reviews", "is forbidden in the same line", "a node's credential, or a binding to system:auth-delegator"},
		},
		Next: []string{"kubectl --kubeconfig /etc/kubernetes/kubelet.conf auth whoami", "kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz"}, Proof: ofKubelets},

	// What the kubelet has, and has not.

	{ID: "waiting-to-start",
		Texts:   []string{`container "…" in pod "…" is waiting to start: …`},
		pattern: `container "(?P<container>[^"]*)" in pod "(?P<pod>[^"]*)" is waiting to start(?:: (?P<reason>[^\n]*)| - no logs yet)?`,
		Meaning: "all is well between the apiserver and the kubelet: the container has not begun, and has no log",
		Causes: []Cause{
			{"its image cannot be pulled", "the reason is ErrImagePull, ImagePullBackOff, or that it is trying and failing", "the image's name; imagePullSecrets"},
			{"a volume, a Secret or a ConfigMap is missing, or an init container is at work", "the reason is ContainerCreating or PodInitializing; kubectl describe pod", "what the events say"},
		},
		Next: []string{"kubectl describe pod {pod}", "kubectl get events --field-selector involvedObject.name={pod}"}, Proof: ofKubectl},
	{ID: "no-previous-container",
		Texts:   []string{`previous terminated container "…" in pod "…" not found`},
		pattern: `previous terminated container "(?P<container>[^"]*)" in pod "(?P<pod>[^"]*)" not found`,
		Meaning: "the log before a restart was asked for (--previous), and the container has never ended, or what it was has been removed",
		Causes: []Cause{
			{"it runs for the first time", "kubectl get pod shows no restarts", "leave --previous out"},
			{"the node has lost it: garbage collection, or another node", "restarts are counted, and the log is gone", "a log collector"},
		},
		Next: []string{"kubectl get pod {pod}"}, Proof: ofKubectl},
	{ID: "unavailable",
		Texts:   []string{"the server is currently unable to handle the request ( pods/log …)", "unable to upgrade connection: Service Unavailable"},
		pattern: `the server is currently unable to handle the request \( ?pods/log[^)\n]*\)|unable to upgrade connection: Service Unavailable`,
		Meaning: "kube-apiserver reached somebody in the kubelet's place, and was answered 503: not now",
		Causes: []Cause{
			{"what is between them, a load balancer, a proxy or a tunnel, has nobody to pass it on to", "the kubelet does not know of the request", "the tunnel's agent on the node, or what the balancer has behind it"},
			{"the kubelet, or the container runtime whose streams it passes on, is just being started or has too much to do", "it passes; the same on the node by crictl logs", "wait; then journalctl -u kubelet, and the runtime's own log"},
			{"a stand-in answers so on purpose", "fauxlet fault list", "fauxlet fault clear"},
		},
		Next:  []string{"kubectl get nodes -o wide", "kubectl get --raw /api/v1/nodes/NODE/proxy/healthz", checkReach},
		Proof: ofFaults},
	{ID: "stream-timeout",
		Texts:   []string{"Internal error occurred: Timeout occurred"},
		pattern: `Timeout occurred`,
		Meaning: "the connection for exec, attach or port-forward was made, and then nobody answered on it for 30 s",
		Causes: []Cause{
			{"the node went away in the meantime, or packets to it are lost from then on", "kubectl get nodes says NotReady", "the node, and the way to it"},
			{"a proxy on the way passes on the answer to the upgrade, and not what comes after", "kubectl logs works, and exec never does", "have it pass on upgraded connections, or leave it out for the nodes"},
			{"the container runtime hangs", "crictl exec on the node hangs too", "the runtime: journalctl -u containerd"},
		},
		Next:  []string{"kubectl get nodes -o wide", "kubectl logs POD --tail=1", "fauxlet check --kubeconfig admin.conf --only streams"},
		Proof: ofFaults},
	{ID: "no-such-container",
		Texts:   []string{`container … is not valid for pod …`, `container not found ("…")`},
		pattern: `container (?P<container>\S+) is not valid for pod (?P<pod>\S+)(?: out of: (?P<others>[^\n]*))?|container not found \("(?P<missing>[^"]*)"\)|a container name must be specified for pod [^\n]*`,
		Meaning: "the pod has no such container, or it does not run",
		Causes: []Cause{
			{"the name is another", "kubectl get pod -o jsonpath='{.spec.containers[*].name}'", "-c with one of those"},
			{"the container has ended, and exec needs one that runs", "kubectl get pod", "kubectl debug, or wait for its restart"},
		},
		Next: []string{"kubectl get pod POD -o jsonpath='{.spec.initContainers[*].name} {.spec.containers[*].name}'"}, Proof: ofKubectl},
	{ID: "pod-does-not-exist",
		Texts:   []string{"pod does not exist", "the server could not find the requested resource ( pods/log …)"},
		pattern: `pod (?:"[^"]*" )?does not exist|pod not found(?: \("[^"]*"\))?|the server could not find the requested resource \( ?(?P<resource>[\w./]+)[^)\n]*\)`,
		Meaning: "whoever answers as the kubelet does not have the pod that the apiserver has",
		Causes: []Cause{
			{"another kubelet answers: two nodes have one address, or one name leads to another node", "kubectl get nodes -o wide shows an address twice", "an address for each node"},
			{"the pod has just been bound, or was just removed on the node", "it passes", "wait a moment"},
			{"the kubelet was started with another --hostname-override, or with no apiserver", "its /pods, by kubectl get --raw /api/v1/nodes/NODE/proxy/pods", "--hostname-override, --kubeconfig"},
		},
		Next: []string{"kubectl get nodes -o wide", "kubectl get pod POD -o wide", "kubectl get --raw /api/v1/nodes/NODE/proxy/pods | jq -r '.items[].metadata.name'"}, Proof: ofKubectl},
	{ID: "not-served",
		Texts:   []string{"404 page not found", "404: Page Not Found"},
		pattern: `404 page not found|404: Page Not Found`,
		Meaning: "the kubelet serves nothing at that path. On the secure port, 404 page not found comes before anybody is asked who the client is, and 404: Page Not Found after",
		Causes: []Cause{
			{"the path is misspelt, or was removed: /spec/ is gone, runningpods has small letters and a slash at its end", "fauxlet explain of the path", "the path"},
			{"it is behind a feature gate or a switch of the configuration", "the kubelet's /configz", "enableDebuggingHandlers, enableSystemLogHandler, featureGates"},
		},
		Next: []string{"fauxlet explain --config kubelet.yaml PATH"}, Proof: ofKubelets},
	{ID: "handlers-off",
		Texts:   []string{"Debug endpoints are disabled.", "the server does not allow this method on the requested resource"},
		pattern: `Debug endpoints are disabled\.?|the server does not allow this method on the requested resource[^\n]*|(?:logs|profiling|flags) endpoint is disabled\.`,
		Meaning: "the configuration has turned off what was asked for (405)",
		Causes: []Cause{
			{"enableDebuggingHandlers is false: no logs, no exec, no port-forward", "the kubelet's /configz, or its flag --enable-debugging-handlers", "enableDebuggingHandlers: true"},
			{"it was asked of the read-only port", "the port is 10255", "10250"},
		},
		Next: []string{"grep enableDebuggingHandlers /var/lib/kubelet/config.yaml", "fauxlet explain --config kubelet.yaml /containerLogs/NAMESPACE/POD/CONTAINER"}, Proof: ofKubectl},
	{ID: "unknown-upgrade",
		Texts:   []string{"unable to upgrade connection: …"},
		pattern: `unable to upgrade connection: (?P<answer>[^\n\x00]+)`, // unless what it says was found
		Meaning: "kube-apiserver asked the kubelet for a stream, and the kubelet answered: {answer}",
		Causes: []Cause{
			{"what the answer says", "the words themselves", "what the answer says"},
		},
		Next: []string{"kubectl logs POD", "fauxlet check --kubeconfig admin.conf"}, Proof: ofKubectl},
	{ID: "no-metrics",
		Texts:   []string{"error: Metrics API not available", "no metrics to serve"},
		pattern: `Metrics API not available|no metrics to serve|the server is currently unable to handle the request \(get (?:nodes|pods)\.metrics\.k8s\.io\)`,
		Meaning: "metrics-server is not there, or has not scraped a single node yet. Why, its own log says",
		Causes: []Cause{
			{"metrics-server is not installed", "kubectl get apiservice v1beta1.metrics.k8s.io says NotFound", "install it"},
			{"it does not reach or does not trust the kubelets", "its log: Failed to scrape node", "give that line to fauxlet explain --error"},
			{"it was started less than two measurements ago", "its log has no error", "wait a minute"},
		},
		Next:    []string{"kubectl get apiservice v1beta1.metrics.k8s.io", "kubectl -n kube-system logs deploy/metrics-server | fauxlet explain --error -"},
		Reports: []string{"https://github.com/kubernetes-sigs/metrics-server/issues/1282"}, Proof: ofKubectl},
}

// causesOfUnauthorized are those of a kubelet that does not know kube-apiserver.
var causesOfUnauthorized = []Cause{
	{"kube-apiserver presents no client certificate to kubelets", "--kubelet-client-certificate is not among its flags", "--kubelet-client-certificate and --kubelet-client-key"},
	{"that certificate has expired", "openssl x509 -noout -dates; a kubelet's log says verifying certificate … failed", "kubeadm certs renew apiserver-kubelet-client, and start kube-apiserver again"},
	{"it is of a CA that the kubelet does not have", "openssl verify -CAfile with the kubelet's clientCAFile", "a certificate of that CA, or that CA too in clientCAFile"},
	{"the kubelet has no clientCAFile", "its /configz or config.yaml", "authentication: {x509: {clientCAFile: ca.crt}}"},
	{"it is a serving certificate", "the extended key usage is serverAuth alone", "one with clientAuth"},
}

var nextOfUnauthorized = []string{
	"openssl x509 -in kubelet-client.crt -noout -subject -issuer -dates -ext extendedKeyUsage",
	"fauxlet explain --config kubelet.yaml --client-cert kubelet-client.crt /containerLogs/NAMESPACE/POD/CONTAINER",
	checkClient,
}
