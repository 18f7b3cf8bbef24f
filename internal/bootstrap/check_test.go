package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/connrotation"
)

// manager is a certificate manager under the control of a test.
type manager struct {
	current atomic.Pointer[tls.Certificate]
	healthy bool
}

func (m *manager) Start()                    {}
func (m *manager) Stop()                     {}
func (m *manager) Current() *tls.Certificate { return m.current.Load() }
func (m *manager) ServerHealthy() bool       { return m.healthy }

// TestRunEndsWithoutCertificate checks that Run ends when a kubelet would exit: five minutes after the certificate has
// expired, if the apiserver answers.
func TestRunEndsWithoutCertificate(t *testing.T) {
	for name, healthy := range map[string]bool{"the apiserver answers": true, "the apiserver is silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &manager{healthy: healthy}
				m.current.Store(&tls.Certificate{Leaf: &x509.Certificate{}})
				c := &Connection{manager: m, logger: zap.NewNop(), dialer: connrotation.NewDialer(dial),
					lastAvailable: time.Now()}
				ctx, stop := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- c.Run(ctx) }()
				time.Sleep(time.Hour + time.Second)
				synctest.Wait()
				m.current.Store(nil)
				began := time.Now()
				time.Sleep(exitAfter - 2*time.Second)
				synctest.Wait()
				if len(ran) != 0 {
					t.Fatalf("Run ended too early, after %v: %v", time.Since(began), <-ran)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if !healthy {
					if len(ran) != 0 {
						t.Fatalf("Run ended although it should continue: %v", <-ran)
					}
					stop()
					synctest.Wait()
				}
				switch err := <-ran; {
				case healthy && (err == nil || !strings.Contains(err.Error(), "--bootstrap-kubeconfig")):
					t.Errorf("error %v, want an error about --bootstrap-kubeconfig", err)
				case !healthy && err != nil:
					t.Errorf("error %v, want none while the apiserver does not answer", err)
				}
				stop()
			})
		})
	}
}

// TestAwaitAfterItsContext checks that Await returns no error if there is a certificate, even if its context has ended.
func TestAwaitAfterItsContext(t *testing.T) {
	m := &manager{}
	m.current.Store(&tls.Certificate{})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (&Connection{manager: m}).Await(ctx); err != nil {
		t.Error(err)
	}
}
