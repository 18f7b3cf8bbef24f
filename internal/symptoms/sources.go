package symptoms

const (
	metricsServerFlags = "It has its own flags: --kubelet-certificate-authority, " +
		"--kubelet-preferred-address-types, and " +
		"--kubelet-insecure-tls, which disables verification"
	prometheusSettings = "In place of kube-apiserver's flags, its scrape job has tls_config (ca_file, server_name) and " +
		"authorization"
)

var sources = []Source{
	{
		Name:    "kubectl exec, attach, port-forward",
		Meaning: "kube-apiserver did not get a stream from the kubelet",
		pattern: `error dialing backend: `,
	},
	{
		Name:    "kubectl",
		Meaning: "kubectl prints the error of kube-apiserver, or the error that kube-apiserver got from the kubelet",
		pattern: `(?m)^(?:Error from server|error: |E\d{4} .*"Unhandled Error")|\( pods/log`,
	},
	{
		Name:    "metrics-server",
		Meaning: "metrics-server sent the request, with its service account's token. " + metricsServerFlags,
		pattern: `Failed to scrape node|unable to fully (?:scrape|collect) metrics|scraper\.go`,
	},
	{
		Name:    "Prometheus",
		Meaning: "Prometheus sent the request. " + prometheusSettings,
		pattern: `server returned HTTP status|scrape_pool|target=https?://`,
	},
	{
		Name:    "a kubelet",
		Meaning: "the line is from a kubelet's log; the client has its own error about it",
		pattern: `http: TLS handshake error from|Unable to authenticate the request|"Authorization error"|kubelet(?:\[\d+\])?:`,
	},
	{
		Name:    "kube-apiserver",
		Meaning: "the line is from kube-apiserver's log; kubectl printed an error too",
		pattern: `apiserver received an error that is not an metav1\.Status`,
	},
}
