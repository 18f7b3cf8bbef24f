package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	"k8s.io/klog/v2"
)

// rotation is the library's manager, which can be woken. By itself it is asleep until the certificate is due, which may be a
// year, and by a clock that does not jump: its own Stop does not end that, nor does the certificate's end where the time of day
// has jumped over it, as that of a machine does that was suspended.
type rotation struct {
	certificate.Manager
	ended atomic.Bool
	woken chan struct{}
	once  sync.Once

	// expires is the end of the certificate that there is, in nanoseconds since 1970; 0: there is none. asking is whether the
	// library is awake and after another.
	expires atomic.Int64
	asking  atomic.Bool
}

// nobody is a template that no certificate satisfies: by it the library wakes itself, to ask for a client.
var nobody = &x509.CertificateRequest{Subject: pkix.Name{CommonName: "nobody"}}

var (
	errEnded     = errors.New("ended")
	errOverslept = errors.New("the certificate has expired before it was due: the clock has jumped; another is asked for")
)

// newRotation makes a manager of a configuration with GetTemplate. Without ClientsetFn it rotates nothing.
func newRotation(nodeName string, config certificate.Config) (*rotation, error) {
	r := &rotation{woken: make(chan struct{})}
	template, clientset := config.GetTemplate, config.ClientsetFn
	config.CertificateStore = dated{config.CertificateStore, r}
	config.GetTemplate = func() *x509.CertificateRequest {
		wanted := template()
		if r.ended.Load() || wanted != nil && r.overslept() {
			return nobody
		}
		return wanted
	}
	if clientset == nil {
		close(r.woken) // nothing sleeps
	} else {
		config.ClientsetFn = func(current *tls.Certificate) (kubernetes.Interface, error) {
			if r.ended.Load() {
				r.once.Do(func() { close(r.woken) })
				return nil, errEnded
			}
			if r.overslept() { // and what it is about to ask for is nobody's
				r.asking.Store(true)
				return nil, errOverslept // it tries again within two seconds
			}
			r.asking.Store(true)
			return clientset(current)
		}
	}
	logger := libraryLogger(nodeName)
	if sink := logger.GetSink(); sink != nil {
		logger = logr.New(untilEnded{sink, &r.ended})
	}
	ctx := klog.NewContext(context.Background(), logger)
	config.Ctx = &ctx
	var err error
	if r.Manager, err = certificate.NewManager(&config); err != nil {
		return nil, err
	}
	r.asking.Store(r.Current() == nil) // from its start on
	return r, nil
}

// overslept says whether the certificate has expired while the library is asleep. The library asks for the template each
// second, in which it is told.
func (r *rotation) overslept() bool {
	expires := r.expires.Load()
	return expires != 0 && !r.asking.Load() && time.Now().UnixNano() > expires
}

// dated is a store that tells until when its certificate is good.
type dated struct {
	certificate.Store
	rotation *rotation
}

func (d dated) Current() (*tls.Certificate, error) {
	current, err := d.Store.Current()
	d.keep(current, err)
	return current, err
}

func (d dated) Update(cert, key []byte) (*tls.Certificate, error) {
	current, err := d.Store.Update(cert, key)
	d.keep(current, err)
	return current, err
}

func (d dated) keep(current *tls.Certificate, err error) {
	if err == nil && current.Leaf != nil {
		d.rotation.expires.Store(current.Leaf.NotAfter.UnixNano())
		d.rotation.asking.Store(false)
	}
}

// Stop ends it all, within two seconds.
func (r *rotation) Stop() {
	r.ended.Store(true)
	if r.Current() != nil {
		// It may be asleep. It looks at the template each second, and then asks for a client.
		select {
		case <-r.woken:
		case <-time.After(1500 * time.Millisecond):
		}
	}
	r.Manager.Stop()
}

// untilEnded drops what is logged after the end.
type untilEnded struct {
	logr.LogSink
	ended *atomic.Bool
}

func (u untilEnded) Enabled(level int) bool { return !u.ended.Load() && u.LogSink.Enabled(level) }

func (u untilEnded) Error(err error, message string, keysAndValues ...any) {
	if !u.ended.Load() {
		u.LogSink.Error(err, message, keysAndValues...)
	}
}

func (u untilEnded) WithValues(keysAndValues ...any) logr.LogSink {
	return untilEnded{u.LogSink.WithValues(keysAndValues...), u.ended}
}

func (u untilEnded) WithName(name string) logr.LogSink {
	return untilEnded{u.LogSink.WithName(name), u.ended}
}
