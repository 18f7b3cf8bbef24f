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

// nodeOptions say what a Node is to be.
type nodeOptions struct {
	// name tells it from the other Nodes of the run. It ends the Node's name.
	name string
	// addresses are those of the Node. Nil: the run's node IP, as an address of every type, so that it is dialled whatever
	// the order of types is.
	addresses []v1.NodeAddress
	// port is that of the Node's status. 0: it says none.
	port int32
	// features are what the Node declares, as in ExtendWebSocketsToKubelet.
	features []string
}

// node is a Node with a pod on it.
type node struct {
	run    *run
	object *v1.Node
	pod    *v1.Pod
}

// node registers a Node and binds a pod to it, whose name is the Node's.
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

// kubeletOptions say what listens as a kubelet. The zero value is a stand-in.
type kubeletOptions struct {
	// node is its Node. The port is filled in; the name must be given.
	node nodeOptions
	// ip is where it listens. Zero: on the run's node IP.
	ip netip.Addr
	// tls changes the TLS configuration: its certificate, its versions. The configuration requests a client certificate and
	// verifies none, and has the serving certificate that the apiserver accepts.
	tls func(*tls.Config)
	// certificate is the serving certificate. Nil: the one that works.
	certificate *tls.Certificate
	// containers says what is made up of the pod's container. (stand-in)
	container scenario.Container
	// handler answers in the place of a stand-in; [run.standIn] makes one for it to fall back on.
	handler http.Handler
	// raw gets each connection after its handshake, in the place of an HTTP server. The connection is closed when it returns.
	raw func(*tls.Conn)
	// plain gets each connection before its handshake. It is closed when it returns.
	plain func(net.Conn)
}

// kubelet listens in the place of one. Its methods are safe for concurrent use.
type kubelet struct {
	*node
	listener net.Listener
	http     *http.Server
	conns    *hatch

	mu      sync.Mutex
	closed  bool
	all     []*connection
	changed chan struct{} // closed at the next change; nil while nobody waits
	running sync.WaitGroup
}

// kubelet listens, and registers its Node with a pod.
func (r *run) kubelet(ctx context.Context, o kubeletOptions) (*kubelet, error) {
	ip := o.ip
	if !ip.IsValid() {
		ip = r.nodeIP
	}
	certificate := o.certificate
	if certificate == nil && o.plain == nil {
		var err error
		if certificate, err = r.working(); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %v: %w; --node-ip is an address of this machine", ip, err)
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
	k.conns = newHatch(listener.Addr())
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

// standIn is what stands on a kubelet's port: one that lets everybody do everything.
func (r *run) standIn(n *node, c scenario.Container) (http.Handler, error) {
	store, err := pods.Runtime{Executor: execCheckExecutor{}}.NewStore(scenario.Pod{
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

// port is the one that it listens on.
func (k *kubelet) port() int { return k.listener.Addr().(*net.TCPAddr).Port }

func (k *kubelet) address() string { return k.listener.Addr().String() }

// Close closes its port and all connections, and returns when they have ended; handlers end with their connections. The
// Node stays.
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
		c := &connection{Conn: conn, kubelet: k, seen: seen{Accepted: time.Now(), Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()}}
		if !k.add(c) {
			conn.Close()
			return
		}
		k.running.Go(func() { k.meet(c, config, o) })
	}
}

// add keeps a connection, unless the kubelet is closed.
func (k *kubelet) add(c *connection) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.all = append(k.all, c)
	k.tell()
	return true
}

// tell tells those who wait that something was seen. The caller holds mu.
func (k *kubelet) tell() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// recordHello has the connection keep what its client offers.
func recordHello(config *tls.Config) {
	choose := config.GetConfigForClient
	config.GetConfigForClient = func(said *tls.ClientHelloInfo) (*tls.Config, error) {
		said.Conn.(*connection).change(func(s *seen) {
			s.Hello = &hello{ServerName: said.ServerName, Protocols: said.SupportedProtos, Versions: said.SupportedVersions, CipherSuites: said.CipherSuites}
		})
		if choose != nil {
			return choose(said)
		}
		return nil, nil
	}
}

// meet shakes hands, and hands the connection over.
func (k *kubelet) meet(c *connection, config *tls.Config, o kubeletOptions) {
	if o.plain != nil {
		defer c.Close()
		o.plain(c)
		return
	}
	conn := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.change(func(s *seen) { s.HandshakeError = err })
		c.Close()
		return
	}
	state := conn.ConnectionState()
	c.change(func(s *seen) { s.TLS = &state })
	if o.raw != nil {
		defer conn.Close()
		o.raw(conn)
		return
	}
	k.conns.put(conn)
}

// seen is what was seen of all connections that came so far.
func (k *kubelet) seen() []seen {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]seen, len(k.all))
	for i, c := range k.all {
		all[i] = c.seen
	}
	return all
}

// await waits until what was seen is as wanted. When ctx is done first, the error says what was waited for.
func (k *kubelet) await(ctx context.Context, what string, wanted func([]seen) bool) ([]seen, error) {
	for {
		k.mu.Lock()
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		if all := k.seen(); wanted(all) {
			return all, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return k.seen(), fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// hatch is a listener whose connections are put in by hand.
type hatch struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newHatch(address net.Addr) *hatch {
	return &hatch{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *hatch) put(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

func (h *hatch) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hatch) Addr() net.Addr { return h.address }

func (h *hatch) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
