package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

	"fauxlet/authchain"
	"fauxlet/internal/logging"
)

// buffer is a log to which many goroutines can write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) Sync() error { return nil }

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// klogOutput receives the log of the k8s.io libraries, from before the first test until the process ends. Tests change
// only where it writes, because klog has no lock for a change of its logger, and libraries may log long after the test
// that made them work has ended: a stream that a client never opened fails after 30 s.
var klogOutput redirected

type redirected struct {
	mu sync.Mutex
	to io.Writer // standard error if it is nil
}

func (r *redirected) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == nil {
		return os.Stderr.Write(p)
	}
	return r.to.Write(p)
}

func (r *redirected) set(to io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

// redirectKlog makes klog write to klogOutput, in the same format as `fauxlet -v` does.
func redirectKlog() {
	if _, err := logging.New(&klogOutput, "json", 7); err != nil {
		panic(err)
	}
	setKlogVerbosity(0)
}

func setKlogVerbosity(verbosity int) {
	var level klog.Level
	if err := level.Set(strconv.Itoa(verbosity)); err != nil {
		panic(err)
	}
}

// captureKlog makes klog write its output to w until the test ends. Messages above the given verbosity are omitted.
func captureKlog(t *testing.T, w io.Writer, verbosity int) {
	klogOutput.set(w)
	setKlogVerbosity(verbosity)
	t.Cleanup(func() {
		setKlogVerbosity(0)
		klogOutput.set(nil)
	})
}

// TestNoSecretInLogs expects that no log, Decision or metric contains a token, a key, or the query of a request. In
// this test libraries log up to verbosity 7 only. At 8 and above client-go logs the bodies of its requests, including
// the tokens to review. A kubelet logs them too.
func TestNoSecretInLogs(t *testing.T) {
	var log buffer
	captureKlog(t, &log, 7)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &log, zapcore.DebugLevel)
	f := newFixture(t, fixtureOptions{logger: zap.New(core)})
	client, admin := f.client(t, nil), f.client(t, f.certificate(t, "kubelet-client"))

	const good, unknown = "the-token-of-prometheus", "s3cret-unknown"
	var secrets []string
	for _, token := range []string{good, unknown} {
		encoded := base64.RawURLEncoding.EncodeToString([]byte(token))
		secrets = append(secrets, token, encoded)
		for _, headers := range [][]string{
			{"Authorization: Bearer " + token},
			{"Authorization: bearer  " + token},
			{"Authorization: Bearer " + token + "\tx"},
			{"Authorization: Basic " + token},
			{"Authorization: " + token},
			{"Authorization: Bearer " + token, "Authorization: Bearer other"},
			{"Connection: Upgrade", "Upgrade: websocket",
				"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + encoded + ", v4.channel.k8s.io"},
			{"Connection: Upgrade", "Upgrade: websocket",
				"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + encoded},
			{"Connection: Upgrade", "Upgrade: websocket",
				"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + encoded + "!, v4"},
		} {
			for _, path := range []string{"/metrics", "/pods", "/exec/default/nginx/nginx?output=1", "/nothing"} {
				seen := f.seen()
				f.ask(t, client, http.MethodGet, path, headers...)
				f.decision(t, seen+1)
				f.ask(t, admin, http.MethodGet, path, headers...)
				f.decision(t, seen+2)
			}
		}
	}
	const query = "s3cret-in-the-query"
	secrets = append(secrets, query)
	for _, path := range []string{"/containerLogs/default/nginx/nginx?tailLines=", "/nothing?token=",
		"/exec/default/nginx/nginx?output=1&command="} {
		seen := f.seen()
		f.ask(t, admin, http.MethodGet, path+query)
		f.decision(t, seen+1)
	}
	f.stopReviews()
	get(t, f.withToken(t, unknown), f.url+"/pods")
	f.find(t, "without an apiserver", func(d *authchain.Decision) bool { return d.Outcome() == "error" })

	secrets = append(secrets, "PRIVATE KEY")
	for line := range strings.Lines(string(f.serving.KeyPEM)) {
		if !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, strings.TrimSpace(line))
		}
	}
	f.mu.Lock()
	decisions, err := json.Marshal(f.decisions)
	f.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	f.startReviews(t)
	_, metrics := get(t, admin, f.url+"/metrics")
	for where, text := range map[string]string{"the log": log.String(), "the Decisions": string(decisions),
		"the metrics": metrics} {
		if len(text) < 1000 {
			t.Errorf("%s: the text is too short: %q", where, text)
		}
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s: %q: …%s…", where, secret, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
	// The logs contain the fingerprint in place of the token.
	for _, text := range []string{log.String(), string(decisions)} {
		if !strings.Contains(text, authchain.Fingerprint(unknown)) {
			t.Errorf("the fingerprint of the unknown token is missing")
		}
	}
}
