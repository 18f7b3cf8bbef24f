package symptoms

var sources = []Source{
	{"kubectl exec, attach, port-forward", "kube-apiserver did not get as far as a stream of the kubelet's", `error dialing backend: `},
	{"kubectl", "kubectl repeats kube-apiserver: what that says itself, or what it met when it asked the kubelet", `(?m)^(?:Error from server|error: |E\d{4} .*"Unhandled Error")|\( pods/log`},
	{"metrics-server", "metrics-server has asked the kubelet, with its service account's token. It has flags of its own: --kubelet-certificate-authority, --kubelet-preferred-address-types, and --kubelet-insecure-tls, which verifies nothing", `Failed to scrape node|unable to fully (?:scrape|collect) metrics|scraper\.go`},
	{"Prometheus", "Prometheus has asked the kubelet. What is said of kube-apiserver's flags is tls_config (ca_file, server_name) and authorization of its scrape job", `server returned HTTP status|scrape_pool|target=https?://`},
	{"a kubelet", "it is of a kubelet's own log: the client at the other end has its own words for it", `http: TLS handshake error from|Unable to authenticate the request|"Authorization error"|kubelet(?:\[\d+\])?:`},
	{"kube-apiserver", "it is of kube-apiserver's own log; kubectl has met it too", `apiserver received an error that is not an metav1\.Status`},
}
