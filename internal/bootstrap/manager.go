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

// rotation is a client-go certificate manager that can be woken. client-go's manager sleeps until the certificate is
// due for renewal, possibly for a year. A rotation wakes its manager in two cases. First, when the rotation is stopped,
// because the manager's own Stop method does not end the sleep. Second, when the wall-clock time jumps past the
// certificate's expiry, for example after the machine was suspended, because the sleep uses the monotonic clock and
// therefore lasts too long.
type rotation struct {
	certificate.Manager
	files    *store
	requests *requestLogger
	ended    atomic.Bool
	woken    chan struct{}
}

// The variable "mismatch" is a template that no certificate satisfies. The certificate library calls GetTemplate every
// second, even while it sleeps. If GetTemplate returns this template, the library wakes and calls ClientsetFn.
var mismatch = &x509.CertificateRequest{Subject: pkix.Name{CommonName: "mismatch"}}

// newRotation returns a rotation that stores its certificates in "files" and logs its requests to "requests". The
// configuration must have a GetTemplate function. If the configuration has no ClientsetFn function, the certificate is
// not renewed.
func newRotation(nodeName string, files *store, requests *requestLogger,
	config certificate.Config) (*rotation, error) {
	r := &rotation{files: files, requests: requests, woken: make(chan struct{})}
	wake := sync.OnceFunc(func() { close(r.woken) })
	template, clientset := config.GetTemplate, config.ClientsetFn
	config.CertificateStore = files
	config.GetTemplate = func() *x509.CertificateRequest {
		wanted := template()
		if r.ended.Load() || wanted != nil && r.overslept() {
			return mismatch
		}
		return wanted
	}
	if clientset == nil {
		wake() // without ClientsetFn the certificate library never sleeps, so nothing has to wait for it
	} else {
		config.ClientsetFn = func(current *tls.Certificate) (kubernetes.Interface, error) {
			overslept := r.overslept()
			r.files.expires.Store(0)
			switch {
			case r.ended.Load():
				wake()
				return nil, errors.New("ended")
			case overslept: // send no request: its template would be the variable "mismatch"
				return nil, errors.New("the certificate has expired before its renewal: the clock has jumped; " +
					"requesting a new one") // after this error the certificate library tries again within two seconds
			}
			client, err := clientset(current)
			return requests.wrap(client), err
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
	if current := r.Current(); current != nil {
		files.expires.Store(current.Leaf.NotAfter.UnixNano())
	}
	return r, nil
}

// overslept reports whether the certificate has expired while the certificate library sleeps until the renewal.
func (r *rotation) overslept() bool {
	expires := r.files.expires.Load()
	return expires != 0 && time.Now().UnixNano() > expires
}

// Stop ends all goroutines within two seconds, and waits until all requests have ended.
func (r *rotation) Stop() {
	r.ended.Store(true)
	if r.Current() != nil {
		// GetTemplate now returns the variable "mismatch", so the library wakes within a second and calls ClientsetFn.
		select {
		case <-r.woken:
		case <-time.After(1500 * time.Millisecond):
		}
	}
	r.Manager.Stop()
	r.requests.end()
}

// untilEnded is a log sink that drops every line that is logged after the rotation of certificates has ended.
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
