package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/conformance/stage"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
	"fauxlet/server"
)

// nodeOptions configure a Node. The name is required.
type nodeOptions struct {
	// name is the suffix of the Node's name.
	name string
	// addresses are the Node's addresses. The default is the run's node IP as an address of every type.
	addresses []v1.NodeAddress
	// port is the kubelet port in the Node's status; 0 means that the status has no port.
	port int32
	// features are the Node's declared features, for example ExtendWebSocketsToKubelet.
	features []string
}

// node is a Node with a pod on it.
type node struct {
	run    *run
	object *v1.Node
	pod    *v1.Pod
}

// node creates a Node and a pod with the same name that is bound to it.
func (r *run) node(ctx context.Context, o nodeOptions) (*node, error) {
	if o.addresses == nil {
		o.addresses = stage.AddressesOfEveryType(r.nodeIP.String())
	}
	status := v1.NodeStatus{Addresses: o.addresses, DeclaredFeatures: o.features}
	status.DaemonEndpoints.KubeletEndpoint.Port = o.port
	object, err := r.objects.CreateNode(ctx, o.name, status)
	if err != nil {
		return nil, err
	}
	pod, err := r.objects.CreatePod(ctx, object.Name)
	if err != nil {
		return nil, err
	}
	return &node{r, object, pod}, nil
}

// kubeletOptions configure a kubelet. It is a stand-in unless handler, raw or plain is set.
type kubeletOptions struct {
	// node configures the kubelet's Node, except the port, which run.kubelet sets.
	node nodeOptions
	// ip is the address to listen on. The default is the run's node IP.
	ip netip.Addr
	// tls modifies the TLS configuration. By default it requests a client certificate and does not verify it.
	tls func(*tls.Config)
	// certificate is the serving certificate. The default is a certificate that the kube-apiserver accepts.
	certificate *tls.Certificate
	// container configures the stand-in's container.
	container scenario.Container
	// handler serves the requests instead of a stand-in.
	handler http.Handler
	// raw handles each connection after the handshake, instead of an HTTP server. The connection is closed afterwards.
	raw func(*tls.Conn)
	// plain handles each connection before the handshake. The connection is closed afterwards.
	plain func(net.Conn)
}

// kubelet is a listener that takes the place of a real kubelet. Its methods are safe for concurrent use.
type kubelet struct {
	*node
	listener net.Listener
	http     *http.Server
	conns    *connListener

	mu      sync.Mutex
	closed  bool
	all     []*connection
	changed chan struct{} // closed at the next change; nil if no await is running
	running sync.WaitGroup
}

// kubelet starts a kubelet and creates its Node and pod. The caller closes it.
func (r *run) kubelet(ctx context.Context, o kubeletOptions) (*kubelet, error) {
	ip := o.ip
	if !ip.IsValid() {
		ip = r.nodeIP
	}
	certificate := o.certificate
	if certificate == nil && o.plain == nil {
		var err error
		if certificate, err = r.accepted(); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %v: %w; give --node-ip an address of this machine", ip, err)
	}
	k := &kubelet{listener: listener}
	o.node.port = int32(listener.Addr().(*net.TCPAddr).Port)
	if k.node, err = r.node(ctx, o.node); err != nil {
		listener.Close()
		return nil, err
	}
	config := &tls.Config{ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	if o.tls != nil {
		o.tls(config)
	}
	recordHello(config)
	handler := o.handler
	if handler == nil {
		if handler, err = r.standIn(k.node, o.container); err != nil {
			listener.Close()
			return nil, err
		}
	}
	k.conns = newConnListener(listener.Addr())
	k.http = &http.Server{
		Handler:  recordRequests(handler),
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
	}
	k.running.Go(func() { k.http.Serve(k.conns) })
	k.running.Go(func() { k.accept(config, o) })
	return k, nil
}

// standIn returns the handler of a stand-in that allows every request.
func (r *run) standIn(n *node, c scenario.Container) (http.Handler, error) {
	store, err := pods.NewStoreWith(execCheckExecutor{}, scenario.Pod{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.pod.Namespace, Name: n.pod.Name, UID: n.pod.UID},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: container}}},
		},
		Containers: map[string]scenario.Container{container: c},
	})
	if err != nil {
		return nil, err
	}
	config := *r.standIns
	config.NodeName = n.object.Name
	s, err := server.New(server.Options{Config: &config, Pods: store})
	if err != nil {
		return nil, err
	}
	return s.Handler(), nil
}

func (k *kubelet) port() int { return k.listener.Addr().(*net.TCPAddr).Port }

func (k *kubelet) address() string { return k.listener.Addr().String() }

// Close closes the listener and all connections, and waits for their handlers. It does not delete the Node.
func (k *kubelet) Close() {
	k.mu.Lock()
	k.closed = true
	all := slices.Clone(k.all)
	k.mu.Unlock()
	k.listener.Close()
	k.conns.Close()
	k.http.Close()
	for _, c := range all {
		c.Close()
	}
	k.running.Wait()
}

func (k *kubelet) accept(config *tls.Config, o kubeletOptions) {
	for {
		conn, err := k.listener.Accept()
		if err != nil {
			return
		}
		c := &connection{
			Conn:    conn,
			kubelet: k,
			observed: observed{
				Accepted: time.Now(),
				Local:    conn.LocalAddr().String(),
				Remote:   conn.RemoteAddr().String(),
			},
		}
		if !k.add(c) {
			conn.Close()
			return
		}
		k.running.Go(func() { k.serveConn(c, config, o) })
	}
}

// add records a connection, unless the kubelet is closed.
func (k *kubelet) add(c *connection) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.all = append(k.all, c)
	k.notify()
	return true
}

// notify wakes await. The caller must hold mu.
func (k *kubelet) notify() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// recordHello records the ClientHello of each connection.
func recordHello(config *tls.Config) {
	choose := config.GetConfigForClient
	config.GetConfigForClient = func(message *tls.ClientHelloInfo) (*tls.Config, error) {
		message.Conn.(*connection).change(func(s *observed) {
			s.Hello = &clientHello{
				ServerName:   message.ServerName,
				Protocols:    message.SupportedProtos,
				Versions:     message.SupportedVersions,
				CipherSuites: message.CipherSuites,
			}
		})
		if choose != nil {
			return choose(message)
		}
		return nil, nil
	}
}

// serveConn completes the handshake and passes the connection to its handler.
func (k *kubelet) serveConn(c *connection, config *tls.Config, o kubeletOptions) {
	if o.plain != nil {
		defer c.Close()
		o.plain(c)
		return
	}
	conn := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.change(func(s *observed) { s.HandshakeError = err })
		c.Close()
		return
	}
	state := conn.ConnectionState()
	c.change(func(s *observed) { s.TLS = &state })
	if o.raw != nil {
		defer conn.Close()
		o.raw(conn)
		return
	}
	k.conns.put(conn)
}

// observed returns the current states of all connections.
func (k *kubelet) observed() []observed {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]observed, len(k.all))
	for i, c := range k.all {
		all[i] = c.observed
	}
	return all
}

// await waits until wanted returns true for the connections. If ctx is done first, it returns an error that names
// the awaited state with the text what.
func (k *kubelet) await(ctx context.Context, what string, wanted func([]observed) bool) ([]observed, error) {
	for {
		k.mu.Lock()
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		if all := k.observed(); wanted(all) {
			return all, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return k.observed(), fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// connListener is a listener that accepts the connections passed to put.
type connListener struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newConnListener(address net.Addr) *connListener {
	return &connListener{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *connListener) put(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

func (h *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *connListener) Addr() net.Addr { return h.address }

func (h *connListener) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
