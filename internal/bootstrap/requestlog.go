package bootstrap

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"

	"fauxlet/internal/echo"
	"fauxlet/internal/shellword"
)

// nextAutomatic describes, in a log line, how the certificate library reacts to a refused request.
const nextAutomatic = "a new request follows automatically, within seconds at first and later every 30 seconds"

// requestLogger logs the progress of each CertificateSigningRequest with the name of the request. The log lines of the
// certificate library do not contain these names.
type requestLogger struct {
	logger *zap.Logger
	node   string
	kind   string // "client" or "serving"
	next   string // the end of the log line about a refused request: what happens next

	mu sync.Mutex
	// secrets are the tokens and passwords of all requests so far. They must not be logged even if the apiserver
	// repeats them. There can be several, because the bootstrap kubeconfig is read again and a file with a token can
	// change.
	secrets []string
	last    string // the latest event, so that repeated events are logged once
	ended   bool
	active  sync.WaitGroup // counts the calls that are under way
}

// wrap returns a client that behaves like the given client and logs its calls about CertificateSigningRequests.
func (l *requestLogger) wrap(client kubernetes.Interface) kubernetes.Interface {
	return loggedClient{client, l}
}

// remember is the WrapTransport of the clients whose calls are logged. It adds the credentials of each request to the
// secrets.
func (l *requestLogger) remember(next http.RoundTripper) http.RoundTripper {
	return rememberer{next, l}
}

type rememberer struct {
	http.RoundTripper
	log *requestLogger
}

func (r rememberer) RoundTrip(request *http.Request) (*http.Response, error) {
	r.log.addSecrets(echo.Credentials(request.Header.Get("Authorization")))
	return r.RoundTripper.RoundTrip(request)
}

// mostSecrets limits the number of secrets. A credential plugin may return a different token for each request.
const mostSecrets = 100

func (l *requestLogger) addSecrets(secrets []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, secret := range secrets {
		if !slices.Contains(l.secrets, secret) {
			l.secrets = append(l.secrets, secret)
		}
	}
	l.secrets = l.secrets[max(0, len(l.secrets)-mostSecrets):]
}

// repeatsSecret reports whether one of the texts repeats a token or password of a request.
func (l *requestLogger) repeatsSecret(texts ...string) bool {
	l.mu.Lock()
	secrets := slices.Clone(l.secrets)
	l.mu.Unlock()
	return slices.ContainsFunc(secrets, func(secret string) bool { return echo.Repeats(secret, texts...) })
}

// begin counts a call that starts. After "end" it returns false, and the call must not start.
func (l *requestLogger) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.active.Add(1)
	}
	return !l.ended
}

// The method "end" waits until all calls have ended, and prevents further calls. The caller has cancelled their
// contexts. Without it, client-go could still use the connection and the log: neither the certificate library nor its
// informers wait for their requests.
func (l *requestLogger) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.active.Wait()
}

// The method "once" returns the logger for an event of the CertificateSigningRequest with the given name. If the
// previous event was the same event of the same request, the returned logger drops everything.
func (l *requestLogger) once(name, event string) *zap.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == name+" "+event {
		return zap.NewNop()
	}
	l.last = name + " " + event
	return l.logger.With(zap.String("node", l.node), zap.String("certificate", l.kind), zap.String("csr", name))
}

func (l *requestLogger) created(name string, err error) {
	approve := zap.String("approve", "kubectl certificate approve "+shellword.Quote(name))
	switch {
	case err == nil:
		l.once(name, "created").Info("certificate requested; waiting for approval", approve)
	case apierrors.IsAlreadyExists(err):
		l.once(name, "found").Info("certificate already requested with the same key; waiting for approval", approve)
	default:
		l.once(name, err.Error()).Error("cannot request a certificate", zap.Error(err),
			zap.String("remedy", l.remedy(err)))
	}
}

func (l *requestLogger) remedy(err error) string {
	switch {
	case apierrors.IsUnauthorized(err) && l.kind == "client":
		return "the bootstrap token is unknown or expired: it must be a Secret bootstrap-token-ID in kube-system, " +
			"and the apiserver needs --enable-bootstrap-token-auth"
	case apierrors.IsForbidden(err) && l.kind == "client":
		return "kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper " +
			"--group=system:bootstrappers"
	case apierrors.IsForbidden(err):
		return "use the node's own credential (CN=system:node:" + l.node + ", O=system:nodes)"
	}
	return "check that the apiserver answers; the request is retried"
}

func (l *requestLogger) changed(kind watch.EventType, request *certificatesv1.CertificateSigningRequest) {
	if kind == watch.Deleted {
		l.once(request.Name, "deleted").Warn("request deleted before the certificate was issued",
			zap.String("next", l.next))
		return
	}
	for _, condition := range request.Status.Conditions {
		fields := []zap.Field{zap.String("reason", condition.Reason), zap.String("message", condition.Message),
			zap.String("next", l.next)}
		switch condition.Type {
		case certificatesv1.CertificateDenied:
			l.once(request.Name, "denied").Warn("request denied", fields...)
		case certificatesv1.CertificateFailed:
			l.once(request.Name, "failed").Warn(
				"the signer refused the request: its content does not match what this signer signs", fields...)
		case certificatesv1.CertificateApproved:
			if len(request.Status.Certificate) == 0 {
				l.once(request.Name, "approved").Info("request approved; waiting for the signer, " +
					"kube-controller-manager with --cluster-signing-cert-file and --cluster-signing-key-file")
			}
		}
	}
}

// conceal removes the texts of a request's conditions that repeat a bootstrap token. The certificate library and the
// requestLogger log these texts.
func (l *requestLogger) conceal(request *certificatesv1.CertificateSigningRequest) {
	for i := range request.Status.Conditions {
		if c := &request.Status.Conditions[i]; l.repeatsSecret(c.Reason, c.Message) {
			c.Reason, c.Message = echo.Removed, echo.Removed
		}
	}
}

// loggedClient is a client that reports its calls about CertificateSigningRequests to a requestLogger.
type loggedClient struct {
	kubernetes.Interface
	log *requestLogger
}

func (c loggedClient) CertificatesV1() certificatesclient.CertificatesV1Interface {
	return loggedV1{c.Interface.CertificatesV1(), c.log}
}

type loggedV1 struct {
	certificatesclient.CertificatesV1Interface
	log *requestLogger
}

func (c loggedV1) CertificateSigningRequests() certificatesclient.CertificateSigningRequestInterface {
	return loggedRequests{c.CertificatesV1Interface.CertificateSigningRequests(), c.log}
}

type loggedRequests struct {
	certificatesclient.CertificateSigningRequestInterface
	log *requestLogger
}

func (c loggedRequests) Create(ctx context.Context, request *certificatesv1.CertificateSigningRequest,
	options metav1.CreateOptions) (*certificatesv1.CertificateSigningRequest, error) {
	if !c.log.begin() {
		return nil, context.Canceled
	}
	defer c.log.active.Done()
	created, err := c.CertificateSigningRequestInterface.Create(ctx, request, options)
	if err == nil && c.log.repeatsSecret(created.Name) {
		created, err = nil, errors.New("the apiserver has named the request after the bootstrap token")
	}
	name := request.Name
	if err == nil {
		name = created.Name
	}
	if ctx.Err() == nil {
		c.log.created(name, err)
	}
	return created, err
}

func (c loggedRequests) List(ctx context.Context,
	options metav1.ListOptions) (*certificatesv1.CertificateSigningRequestList, error) {
	if !c.log.begin() {
		return nil, context.Canceled
	}
	defer c.log.active.Done()
	list, err := c.CertificateSigningRequestInterface.List(ctx, options)
	if err == nil {
		for i := range list.Items {
			c.log.conceal(&list.Items[i])
			c.log.changed(watch.Added, &list.Items[i])
		}
	}
	return list, err
}

// Watch does not use watch.Filter, whose goroutine blocks forever if the reader stops reading.
func (c loggedRequests) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if !c.log.begin() {
		return nil, context.Canceled
	}
	defer c.log.active.Done()
	events, err := c.CertificateSigningRequestInterface.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	logged := make(chan watch.Event)
	proxy := watch.NewProxyWatcher(logged)
	go func() {
		defer close(logged)
		defer events.Stop()
		for {
			var event watch.Event
			ok := false
			select {
			case event, ok = <-events.ResultChan():
			case <-proxy.StopChan():
			}
			if !ok {
				return
			}
			if request, ok := event.Object.(*certificatesv1.CertificateSigningRequest); ok &&
				event.Type != watch.Bookmark {
				c.log.conceal(request)
				c.log.changed(event.Type, request)
			}
			select {
			case logged <- event:
			case <-proxy.StopChan():
				return
			}
		}
	}()
	return proxy, nil
}
