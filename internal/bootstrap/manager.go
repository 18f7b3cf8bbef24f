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

// rotation wraps the library's certificate manager so that the manager can be woken. The manager sleeps until the
// certificate is due for renewal, which may take a year. Its Stop method does not end the sleep. The sleep uses the
// monotonic clock, so it also continues when the wall-clock time jumps past the expiry, for example after the
// machine was suspended.
type rotation struct {
	certificate.Manager
	ended atomic.Bool
	woken chan struct{}
	once  sync.Once

	// expires is the expiry of the current certificate in nanoseconds since 1970, or 0 if there is no certificate.
	// requesting is true while the library is awake and requests a certificate.
	expires    atomic.Int64
	requesting atomic.Bool
}

// mismatch is a template that no certificate satisfies. When GetTemplate returns it, the library wakes and calls
// ClientsetFn for a client.
var mismatch = &x509.CertificateRequest{Subject: pkix.Name{CommonName: "mismatch"}}

var (
	errEnded     = errors.New("ended")
	errOverslept = errors.New(
		"the certificate has expired before its renewal: the clock has jumped; requesting a new one")
)

// newRotation makes a manager from a configuration with GetTemplate. Without ClientsetFn the certificate is not
// renewed.
func newRotation(nodeName string, config certificate.Config) (*rotation, error) {
	r := &rotation{woken: make(chan struct{})}
	template, clientset := config.GetTemplate, config.ClientsetFn
	config.CertificateStore = expiryStore{config.CertificateStore, r}
	config.GetTemplate = func() *x509.CertificateRequest {
		wanted := template()
		if r.ended.Load() || wanted != nil && r.overslept() {
			return mismatch
		}
		return wanted
	}
	if clientset == nil {
		close(r.woken) // without ClientsetFn the library does not sleep
	} else {
		config.ClientsetFn = func(current *tls.Certificate) (kubernetes.Interface, error) {
			if r.ended.Load() {
				r.once.Do(func() { close(r.woken) })
				return nil, errEnded
			}
			if r.overslept() { // the pending request is for the mismatch template: stop it
				r.requesting.Store(true)
				return nil, errOverslept // the library tries again within two seconds
			}
			r.requesting.Store(true)
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
	r.requesting.Store(r.Current() == nil) // without a certificate the library requests one as soon as it starts
	return r, nil
}

// overslept reports whether the certificate has expired while the library sleeps. It is called every second, because
// the library calls GetTemplate every second.
func (r *rotation) overslept() bool {
	expires := r.expires.Load()
	return expires != 0 && !r.requesting.Load() && time.Now().UnixNano() > expires
}

// expiryStore is a certificate store that records the expiry of its certificate in a rotation.
type expiryStore struct {
	certificate.Store
	rotation *rotation
}

func (s expiryStore) Current() (*tls.Certificate, error) {
	current, err := s.Store.Current()
	s.record(current, err)
	return current, err
}

func (s expiryStore) Update(cert, key []byte) (*tls.Certificate, error) {
	current, err := s.Store.Update(cert, key)
	s.record(current, err)
	return current, err
}

func (s expiryStore) record(current *tls.Certificate, err error) {
	if err == nil && current.Leaf != nil {
		s.rotation.expires.Store(current.Leaf.NotAfter.UnixNano())
		s.rotation.requesting.Store(false)
	}
}

// Stop ends all goroutines within two seconds.
func (r *rotation) Stop() {
	r.ended.Store(true)
	if r.Current() != nil {
		// The library may be asleep. It gets the template every second, finds the mismatch, and calls ClientsetFn.
		select {
		case <-r.woken:
		case <-time.After(1500 * time.Millisecond):
		}
	}
	r.Manager.Stop()
}

// untilEnded is a log sink that drops every line after the rotation has ended.
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
