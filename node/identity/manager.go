package identity

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

// rotation is the library's manager, with an end. The library's own Stop leaves it asleep until the certificate is due,
// which may be a year, and its last words are errors.
type rotation struct {
	certificate.Manager
	ended atomic.Bool
	woken chan struct{}
	once  sync.Once
}

// nobody is a template that no certificate satisfies: by it the library wakes itself.
var nobody = &x509.CertificateRequest{Subject: pkix.Name{CommonName: "ended"}}

var errEnded = errors.New("ended")

// newRotation makes a manager of a configuration with GetTemplate. Without ClientsetFn it rotates nothing.
func newRotation(nodeName string, config certificate.Config) (*rotation, error) {
	r := &rotation{woken: make(chan struct{})}
	template, clientset := config.GetTemplate, config.ClientsetFn
	config.GetTemplate = func() *x509.CertificateRequest {
		if r.ended.Load() {
			return nobody
		}
		return template()
	}
	if clientset == nil {
		close(r.woken) // nothing sleeps
	} else {
		config.ClientsetFn = func(current *tls.Certificate) (kubernetes.Interface, error) {
			if r.ended.Load() {
				r.once.Do(func() { close(r.woken) })
				return nil, errEnded
			}
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
	r.Manager, err = certificate.NewManager(&config)
	return r, err
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
