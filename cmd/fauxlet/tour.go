package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
	"fauxlet/internal/shellword"
)

// A visitor is one of the clients of the tour.
type visitor struct {
	says string
	// certificate is a pair of the PKI folder, token a user of tokens.csv; a token of badToken is nobody's.
	certificate string
	token       string
	method      string // empty: GET
	path        string
	readOnly    bool
	// serverName is dialled in the place of the address, where it is set. insecure: the serving certificate is not verified.
	serverName string
	insecure   bool
}

const badToken = "nobodys-token"

// visitors are in the order in which they tell the story.
var visitors = []visitor{
	{says: "nobody: no certificate and no token", path: "/pods"},
	{says: "kubelet-client, whom rbac.yaml lets do everything: what a kube-apiserver is to a kubelet", certificate: "kubelet-client", path: "/containerLogs/default/nginx/nginx?tailLines=3"},
	{says: "and the same, who runs a command in a container that is not there", certificate: "kubelet-client", method: http.MethodPost, path: "/run/default/nginx/nginx?cmd=ls+-l+/"},
	{says: "viewer, whom the CA vouches for and rbac.yaml does not know", certificate: "viewer", path: "/containerLogs/default/nginx/nginx?tailLines=3"},
	{says: "stranger, whose certificate another CA signed", certificate: "stranger", path: "/pods"},
	{says: "expired, who was known once", certificate: "expired", path: "/pods"},
	{says: "prometheus, by its token, for the metrics that it may read", token: "system:serviceaccount:monitoring:prometheus", path: "/metrics"},
	{says: "prometheus again, for logs that it may not read", token: "system:serviceaccount:monitoring:prometheus", path: "/containerLogs/default/nginx/nginx"},
	{says: "a token that nobody knows", token: badToken, path: "/pods"},
	{says: "a good certificate wins over a bad token", certificate: "kubelet-client", token: badToken, path: "/pods"},
	{says: "the read-only port asks nobody", path: "/pods", readOnly: true},
	{says: "and has no logs to give", path: "/containerLogs/default/nginx/nginx", readOnly: true},
}

// tour sends the visitors to the stand-in and prints what became of each.
type tour struct {
	folder *demoFolder
	// ca is the file of the CA that has signed the serving certificates, and tokens are where a visitor's is from.
	ca     string
	tokens tokens

	mu sync.Mutex
	// watched has the visitors' connections, by their own address, and what was decided about each.
	watched map[string]*authchain.Decision
	// sent has the last requests that were sent, and order their Decisions, the oldest first.
	sent  map[*authchain.Decision]*offline.Request
	order []*authchain.Decision
}

// tokens are those of the visitors, who are users.
type tokens interface {
	token(ctx context.Context, user string) (string, error)
	// line is what a shell puts the token in the place of.
	line(user string) string
}

func newTour(folder *demoFolder) *tour {
	return &tour{folder: folder, ca: folder.path("pki", "ca.crt"), tokens: folder, watched: map[string]*authchain.Decision{}, sent: map[*authchain.Decision]*offline.Request{}}
}

// observe keeps the Decisions about the visitors.
func (t *tour) observe(d *authchain.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.watched[d.Remote]; ok {
		t.watched[d.Remote] = d
	}
}

func (t *tour) run(ctx context.Context, open host.Addresses, w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nA stand-in kubelet for the node %q is running on %s. Its files are in %s:\n", demoNode, cmp.Or(open.Secure, open.ReadOnly), t.folder.dir)
	b.WriteString("kubelet.yaml (edit it, start again), rbac.yaml and tokens.csv (edit them, and see), scenario.yaml, kubeconfig, pki/.\n\n")
	b.WriteString("Each request below was just sent. Paste its line to send it again.\n")
	for _, v := range visitors {
		address := open.Secure
		if v.readOnly {
			address = open.ReadOnly
		}
		if address == "" {
			continue
		}
		fmt.Fprintf(&b, "\n# %s\n# -> ", v.says)
		switch answer, err := t.send(ctx, v, address, tourPatience); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintf(&b, "no answer: %v", err)
		default:
			fmt.Fprintf(&b, "%d, %s", answer.status, cmp.Or(answer.decision.Why(), "and nobody was asked"))
		}
		fmt.Fprintf(&b, "\n%s\n", t.curl(v, address))
	}
	b.WriteString(whereToSee(open.Admin))
	b.WriteString("\nStop with Ctrl-C.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// answer is what a visitor was answered.
type answer struct {
	status   int
	body     []byte // its beginning
	decision *authchain.Decision
}

const (
	// tourPatience is how long a visitor reads.
	tourPatience = 30 * time.Second
	// bodyMost is how much of an answer is kept, in bytes.
	bodyMost = 4 << 10
)

// send sends a visitor's request over a connection of its own, and reads the beginning of what is answered.
func (t *tour) send(ctx context.Context, v visitor, address string, patience time.Duration) (*answer, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	scheme := "http://"
	if !v.readOnly {
		scheme = "https://"
		config, err := t.tls(v)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	token := v.token
	if token != "" && token != badToken {
		var err error
		if token, err = t.tokens.token(ctx, v.token); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	reading, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var local string
	reading = httptrace.WithClientTrace(reading, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		local = info.Conn.LocalAddr().String()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.watched[local] = nil
	}})
	request, err := http.NewRequestWithContext(reading, cmp.Or(v.method, http.MethodGet), scheme+address+v.path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyMost))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	response.Body.Close() // which ends an answer that goes on
	if err != nil && reading.Err() == nil {
		return nil, err
	}
	decision, err := t.decided(ctx, local)
	if err != nil {
		return nil, err
	}
	t.remember(v, token, decision)
	return &answer{response.StatusCode, body, decision}, nil
}

// decided waits for the Decision, which is told of just after its response was sent.
func (t *tour) decided(ctx context.Context, local string) (*authchain.Decision, error) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		t.mu.Lock()
		d := t.watched[local]
		if d != nil {
			delete(t.watched, local)
		}
		t.mu.Unlock()
		if d != nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

func (t *tour) tls(v visitor) (*tls.Config, error) {
	roots, err := readPool(t.ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, ServerName: v.serverName, InsecureSkipVerify: v.insecure}
	if v.certificate == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(t.folder.path("pki", v.certificate+".crt"), t.folder.path("pki", v.certificate+".key"))
	if err != nil {
		return nil, err
	}
	// Presented whether or not the server asks for its CA, as curl does.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}

// curl is the visitor's request as a line for a shell. A token is read from its file by the line, and not in it.
func (t *tour) curl(v visitor, address string) string {
	words := []string{"curl", "-i"}
	if v.method != "" {
		words = append(words, "-X", v.method)
	}
	scheme := "http://"
	if !v.readOnly {
		scheme = "https://"
		if v.insecure {
			words = append(words, "--insecure")
		} else {
			words = append(words, "--cacert", shellword.Quote(t.ca))
		}
	}
	if v.certificate != "" {
		words = append(words,
			"--cert", shellword.Quote(t.folder.path("pki", v.certificate+".crt")),
			"--key", shellword.Quote(t.folder.path("pki", v.certificate+".key")))
	}
	switch v.token {
	case "":
	case badToken:
		words = append(words, "-H", shellword.Quote("Authorization: Bearer "+badToken))
	default:
		words = append(words, "-H", fmt.Sprintf(`"Authorization: Bearer %s"`, t.tokens.line(v.token)))
	}
	if v.serverName != "" {
		host, port, _ := net.SplitHostPort(address)
		words = append(words, "--connect-to", v.serverName+":"+port+":"+host+":"+port)
		address = net.JoinHostPort(v.serverName, port)
	}
	return strings.Join(append(words, shellword.Quote(scheme+address+v.path)), " ")
}
