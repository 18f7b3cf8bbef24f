package explain

import (
	"slices"

	"fauxlet/internal/tlserror"
)

// Parts of several remedies.
const (
	servingFiles = "tlsCertFile: kubelet.crt\ntlsPrivateKeyFile: kubelet.key"
	clientFiles  = "--kubelet-client-certificate=kubelet-client.crt\n--kubelet-client-key=kubelet-client.key"
	clientCA     = "authentication: {x509: {clientCAFile: ca.crt}}"
	bindEveryone = "kubectl create clusterrolebinding anonymous-kubelet-api " +
		"--clusterrole=system:kubelet-api-admin --user=system:anonymous"
)

// Remedies for TLS.
var (
	approveServing = Remedy{
		Summary: "approve the kubelet's CertificateSigningRequest for a serving certificate; no controller approves it",
		Kubelet: "serverTLSBootstrap: true",
		Kubectl: "kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving\n" +
			"kubectl certificate approve NAME",
	}
	serveFiles = Remedy{
		Summary: "configure the kubelet to serve an existing certificate",
		Kubelet: "serverTLSBootstrap: false\n" + servingFiles,
	}
	renewServing = Remedy{
		Summary: "renew the kubelet's serving certificate; the kubelet reloads the files without a restart",
		Kubelet: servingFiles,
	}
	serveTrusted = Remedy{
		Summary: "use a serving certificate that is signed by a CA which the client trusts, and whose subject " +
			"alternative " +
			"names include the address that the client connects to",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-certificate-authority=ca.crt",
		Kubectl:   "fauxlet certs server NODE --dir pki --host ADDRESS-OF-THE-NODE",
	}
	serveAddress = Remedy{
		Summary: "use a serving certificate whose subject alternative names include the address that the client " +
			"connects " +
			"to, or let the client connect to another address of the node",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		Kubectl:   "kubectl get node NODE -o jsonpath='{.status.addresses}'",
	}
	setClocks    = Remedy{Summary: "set the clocks, or wait until the certificate becomes valid"}
	trustServing = Remedy{
		Summary: "configure kube-apiserver to trust the CA that signed the kubelet's serving certificate; the file may " +
			"contain several CAs",
		Apiserver: "--kubelet-certificate-authority=kubelet-ca.crt",
	}
	skipVerification = Remedy{
		Summary:   "disable the verification of the serving certificate",
		Apiserver: "--kubelet-certificate-authority=",
		Kubectl:   "kubectl logs --insecure-skip-tls-verify-backend POD",
		Caution: "any program at the node's address can then pose as the kubelet and read everything sent to it; " +
			"use this for diagnosis only",
	}
	useTLS = Remedy{
		Summary: "use https:// instead of http://; only the read-only port speaks plain HTTP",
		Kubelet: "readOnlyPort: 10255",
		Caution: "the read-only port serves the node's pods and metrics to everyone, without authentication",
	}
	allowTLSVersion = Remedy{
		Summary: "allow the client's TLS version, or let the client use a newer one",
		Kubelet: "tlsMinVersion: VersionTLS12",
	}
	allowCipherSuites = Remedy{
		Summary: "allow a cipher suite and a curve that the client supports; with empty fields the kubelet uses " +
			"Go's defaults",
		Kubelet: "tlsCipherSuites: []\ntlsCurvePreferences: []",
	}
)

// handshakeRemedies are the remedies for a failed handshake.
var handshakeRemedies = map[tlserror.Kind][]Remedy{
	tlserror.NoServingCertificate: {approveServing, serveFiles},
	tlserror.ExpiredCertificate:   {renewServing, approveServing},
	tlserror.BadCertificate:       {serveTrusted, trustServing, skipVerification},
	tlserror.UnknownAuthority:     {serveTrusted, trustServing, skipVerification},
	tlserror.PlainHTTP:            {useTLS},
	tlserror.UnsupportedVersion:   {allowTLSVersion},
	tlserror.NoCipherSuite:        {allowCipherSuites},
}

// servingProblemRemedies are the remedies for problems of a serving certificate. Problems of the certificate's chain
// are handled in servingRemedies.
var servingProblemRemedies = map[problemID][]Remedy{
	problemExpired:       {renewServing, approveServing},
	problemNotYetValid:   {setClocks},
	problemName:          {serveAddress, approveServing},
	problemNoSAN:         {serveAddress, approveServing},
	problemUsage:         {serveTrusted},
	problemWeakSignature: {serveTrusted},
}

// servingRemedies returns the remedies for problems of a serving certificate, without duplicates.
func servingRemedies(problems []problem) []Remedy {
	var all []Remedy
	for _, p := range problems {
		found, ok := servingProblemRemedies[p.ID]
		if !ok {
			found = []Remedy{serveTrusted, trustServing}
		}
		all = append(all, found...)
	}
	var unique []Remedy
	for _, remedy := range append(all, skipVerification) {
		if !slices.Contains(unique, remedy) {
			unique = append(unique, remedy)
		}
	}
	return unique
}

// Remedies for authentication.
var (
	presentCertificate = Remedy{
		Summary:   "configure kube-apiserver to present a client certificate that is signed by the kubelet's client CA",
		Apiserver: clientFiles,
		Kubelet:   clientCA,
	}
	setClientCA = Remedy{
		Summary:   "set the kubelet's client CA; without one the kubelet does not request a client certificate",
		Kubelet:   clientCA,
		Apiserver: clientFiles,
	}
	addCommonName = Remedy{
		Summary:   "use a client certificate with a common name, which becomes the user name",
		Apiserver: clientFiles,
	}
	sendToken = Remedy{
		Summary: "for a client other than kube-apiserver (metrics-server, Prometheus, curl): send a service " +
			"account's token",
		Kubectl: `curl --cacert ca.crt -H "Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)" ` +
			`https://NODE:10250/metrics`,
	}
	readTokens = Remedy{
		Summary: "enable token authentication: the kubelet ignored the bearer token of this request",
		Kubelet: "authentication: {webhook: {enabled: true}}",
	}
	sendValidToken = Remedy{
		Summary: "send a valid token: issued by this cluster, not expired, of an existing service account, " +
			"with the apiserver's audience",
		Kubectl: "kubectl create token SERVICE-ACCOUNT",
		Caution: "enabling anonymous authentication does not help: the kubelet refuses an invalid token all the same",
	}
	allowAnonymous = Remedy{
		Summary: "enable anonymous authentication",
		Kubelet: "authentication: {anonymous: {enabled: true}}",
		Kubectl: bindEveryone,
		Caution: "everyone who reaches the port can then run commands in every pod of the node. Anonymous " +
			"authentication " +
			"alone turns 401 into 403; access needs the binding as well, or authorization.mode AlwaysAllow",
	}
)

// clientProblemRemedies are the remedies for problems of a client certificate. Problems of the certificate's chain
// are handled in unknownCARemedies.
var clientProblemRemedies = map[problemID]Remedy{
	problemExpired: {
		Summary:   "renew the client certificate and restart the client, or let it reload the file",
		Apiserver: clientFiles,
		Kubectl:   "kubeadm certs check-expiration\nkubeadm certs renew apiserver-kubelet-client",
	},
	problemNotYetValid: {
		Summary: "set the clocks: the node's clock is slow, or the certificate is meant for later",
		Kubectl: "timedatectl",
	},
	problemUsage: {
		Summary: "issue the client certificate again with the extended key usage clientAuth; " +
			"the client presented a serving certificate",
		Apiserver: clientFiles,
	},
	problemWeakSignature: {
		Summary:   "issue the client certificate again, signed with SHA-256 or better",
		Apiserver: clientFiles,
	},
}

// Remedies for authorization.
var (
	bindAnonymous = Remedy{
		Summary: "allow it to everyone who reaches the port",
		Kubectl: bindEveryone,
		Caution: "everyone can then run commands in every pod of the node, without a credential",
	}
	alwaysAllow = Remedy{
		Summary: "disable authorization",
		Kubelet: "authorization: {mode: AlwaysAllow}",
		Caution: "every authenticated client may then do everything on the node; with anonymous " +
			"authentication, everyone",
	}
)
