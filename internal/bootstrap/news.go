package bootstrap

import (
	"context"
	"sync"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
	"k8s.io/client-go/util/watchlist"
)

// againByItself is what the library's manager does about a refusal.
const againByItself = "another request is made by itself, within seconds at first and then each half minute"

// news tells the log what becomes of requests, which the library tells nobody by name.
type news struct {
	logger *zap.Logger
	node   string
	kind   string // "client" or "serving"
	again  string // what comes after a refusal

	mu   sync.Mutex
	last string // what was told, so that it is told once
}

// of is the client, listened to.
func (n *news) of(client kubernetes.Interface) kubernetes.Interface { return listening{client, n} }

func (n *news) tell(name, what string) *zap.Logger {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == name+" "+what {
		return zap.NewNop()
	}
	n.last = name + " " + what
	return n.logger.With(zap.String("node", n.node), zap.String("certificate", n.kind), zap.String("csr", name))
}

func (n *news) created(name string, err error) {
	switch {
	case err == nil:
		n.tell(name, "created").Info("a certificate is asked for; it waits to be approved", zap.String("approve", "kubectl certificate approve "+name))
	case apierrors.IsAlreadyExists(err):
		n.tell(name, "found").Info("a certificate was asked for before with the same key; it waits to be approved", zap.String("approve", "kubectl certificate approve "+name))
	default:
		n.tell(name, err.Error()).Error("a certificate cannot be asked for", zap.Error(err), zap.String("remedy", n.remedy(err)))
	}
}

// remedy is what to do about a request that could not be made.
func (n *news) remedy(err error) string {
	switch {
	case apierrors.IsUnauthorized(err) && n.kind == "client":
		return "the apiserver does not know the credential, or it has expired: a bootstrap token is a Secret bootstrap-token-ID in kube-system, and the apiserver needs --enable-bootstrap-token-auth"
	case apierrors.IsForbidden(err) && n.kind == "client":
		return "kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper --group=system:bootstrappers"
	case apierrors.IsForbidden(err):
		return "the credential of the node itself (CN=system:node:" + n.node + ", O=system:nodes) may ask"
	}
	return "see that the apiserver answers; it is tried again"
}

func (n *news) changed(kind watch.EventType, request *certificatesv1.CertificateSigningRequest) {
	if kind == watch.Deleted {
		n.tell(request.Name, "deleted").Warn("the request was removed before the certificate was issued", zap.String("then", n.again))
		return
	}
	for _, condition := range request.Status.Conditions {
		because := []zap.Field{zap.String("reason", condition.Reason), zap.String("message", condition.Message), zap.String("then", n.again)}
		switch condition.Type {
		case certificatesv1.CertificateDenied:
			n.tell(request.Name, "denied").Warn("the request was denied", because...)
		case certificatesv1.CertificateFailed:
			n.tell(request.Name, "failed").Warn("the signer refused the request: it asks for what that signer does not sign", because...)
		case certificatesv1.CertificateApproved:
			if len(request.Status.Certificate) == 0 {
				n.tell(request.Name, "approved").Info("the request is approved and waits for the signer, which is the kube-controller-manager with --cluster-signing-cert-file and --cluster-signing-key-file")
			}
		}
	}
}

// listening, and what it gives, are the client's own but for CertificateSigningRequests.
type listening struct {
	kubernetes.Interface
	news *news
}

func (l listening) CertificatesV1() certificatesclient.CertificatesV1Interface {
	return listeningV1{l.Interface.CertificatesV1(), l.news}
}

// IsWatchListSemanticsUnSupported passes on what client-go's fake says of itself.
func (l listening) IsWatchListSemanticsUnSupported() bool {
	return watchlist.DoesClientNotSupportWatchListSemantics(l.Interface)
}

type listeningV1 struct {
	certificatesclient.CertificatesV1Interface
	news *news
}

func (l listeningV1) CertificateSigningRequests() certificatesclient.CertificateSigningRequestInterface {
	return listeningRequests{l.CertificatesV1Interface.CertificateSigningRequests(), l.news}
}

type listeningRequests struct {
	certificatesclient.CertificateSigningRequestInterface
	news *news
}

func (l listeningRequests) Create(ctx context.Context, request *certificatesv1.CertificateSigningRequest, options metav1.CreateOptions) (*certificatesv1.CertificateSigningRequest, error) {
	created, err := l.CertificateSigningRequestInterface.Create(ctx, request, options)
	name := request.Name
	if err == nil {
		name = created.Name
	}
	if ctx.Err() == nil {
		l.news.created(name, err)
	}
	return created, err
}

func (l listeningRequests) List(ctx context.Context, options metav1.ListOptions) (*certificatesv1.CertificateSigningRequestList, error) {
	list, err := l.CertificateSigningRequestInterface.List(ctx, options)
	if err == nil {
		for i := range list.Items {
			l.news.changed(watch.Added, &list.Items[i])
		}
	}
	return list, err
}

func (l listeningRequests) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := l.CertificateSigningRequestInterface.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return newOverheard(events, l.news), nil
}

// overheard is a watch whose events are looked at on their way. The library's filters would wait forever for a reader
// that has gone.
type overheard struct {
	watch.Interface
	passed chan watch.Event
	gone   chan struct{}
	stop   sync.Once
}

func newOverheard(events watch.Interface, news *news) *overheard {
	o := &overheard{Interface: events, passed: make(chan watch.Event), gone: make(chan struct{})}
	go func() {
		defer close(o.passed)
		for event := range events.ResultChan() {
			if request, ok := event.Object.(*certificatesv1.CertificateSigningRequest); ok && event.Type != watch.Bookmark {
				news.changed(event.Type, request)
			}
			select {
			case o.passed <- event:
			case <-o.gone:
			}
		}
	}()
	return o
}

func (o *overheard) ResultChan() <-chan watch.Event { return o.passed }

func (o *overheard) Stop() {
	o.stop.Do(func() { close(o.gone) })
	o.Interface.Stop()
}
