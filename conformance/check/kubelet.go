package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/conformance/stage"
	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/internal/states"
	"fauxlet/scenario"
	"fauxlet/server"
)

// nodeOptions configure a Node. The name is required.
type nodeOptions struct {
	name string // the suffix of the Node's name
	// addresses are the Node's addresses. By default, the Node has one address of each type, and all have the run's
	// node IP as their value.
	addresses []v1.NodeAddress
	port      int      // the kubelet port in the Node's status; 0 for none
	features  []string // the Node's declared features, for example ExtendWebSocketsToKubelet
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
	status.DaemonEndpoints.KubeletEndpoint.Port = int32(o.port)
	object, err := r.objects.CreateNode(ctx, o.name, status)
	if err != nil {
		return nil, err
	}
	pod, err := r.objects.CreatePod(ctx, object.Name)
	return &node{r, object, pod}, err
}

// kubeletOptions configure a kubelet.
type kubeletOptions struct {
	node nodeOptions // the function run.kubelet sets the port
	ip   netip.Addr  // the address to listen on; by default the run's node IP
	// The function "tls" may change the kubelet's TLS configuration. By default, the kubelet requests a client
	// certificate, and does not verify it.
	tls func(*tls.Config)
	// certificate is the serving certificate. If selfSigned is true, the kubelet has the run's self-signed certificate
	// instead, so the kube-apiserver accepts it only for node.logsInsecurely. If neither field is set, the kubelet has
	// a certificate that the kube-apiserver accepts.
	certificate *tls.Certificate
	selfSigned  bool
	// handler, if set, serves the requests in place of a stand-in.
	handler http.HandlerFunc
	// raw, if set, handles each connection after the TLS handshake, in place of an HTTP server. The kubelet closes the
	// connection when raw returns.
	raw func(net.Conn)
}

// kubelet is a listener that takes the place of a real kubelet. By default it is a stand-in that allows every request.
// The methods are safe for concurrent use.
type kubelet struct {
	*node
	net.Listener
	handler atomic.Value // the http.HandlerFunc that serves the requests
	states  states.List[observed]
	close   func()
}

// kubelet starts a kubelet and creates its Node and pod. The caller closes it.
func (r *run) kubelet(ctx context.Context, o kubeletOptions) (*kubelet, error) {
	if !o.ip.IsValid() {
		o.ip = r.nodeIP
	}
	if o.selfSigned {
		o.certificate = r.selfSigned
	}
	if o.certificate == nil {
		var err error
		if o.certificate, err = r.accepted(); err != nil {
			return nil, err
		}
		if o.certificate, err = r.certificateFor(o.node.name, o.certificate); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(o.ip, 0).String())
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %v: %w; give --node-ip an address of this machine", o.ip, err)
	}
	k := &kubelet{Listener: listener}
	o.node.port = k.port()
	if k.node, err = r.node(ctx, o.node); err == nil && o.handler == nil && o.raw == nil {
		err = k.standIn(scenario.Container{})
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	if o.handler != nil {
		k.handle(o.handler)
	}
	k.serve(o)
	return k, nil
}

// handle sets the function that serves all further requests.
func (k *kubelet) handle(serve http.HandlerFunc) { k.handler.Store(serve) }

// standIn makes a stand-in kubelet serve all further requests. Its pod has a container named c.
func (k *kubelet) standIn(c scenario.Container) error {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: container}}},
		ObjectMeta: metav1.ObjectMeta{Namespace: k.pod.Namespace, Name: k.pod.Name, UID: k.pod.UID}}
	store, err := pods.NewStoreWith(shell.Executor{},
		scenario.Pod{Pod: pod, Containers: map[string]scenario.Container{container: c}})
	if err != nil {
		return err
	}
	config := *k.run.standIns
	config.NodeName = k.object.Name
	s, err := server.New(server.Options{Config: &config, Pods: store})
	if err != nil {
		return err
	}
	k.handle(s.Handler().ServeHTTP)
	return nil
}

func (k *kubelet) port() int { return k.Addr().(*net.TCPAddr).Port }

// Close closes the listener and all connections, and waits for their handlers. It does not delete the Node.
func (k *kubelet) Close() { k.close() }

// serve accepts connections until the kubelet is closed.
func (k *kubelet) serve(o kubeletOptions) {
	config := &tls.Config{Certificates: []tls.Certificate{*o.certificate}, ClientAuth: tls.RequestClientCert,
		NextProtos: []string{"h2", "http/1.1"}, GetConfigForClient: recordHello}
	if o.tls != nil {
		o.tls(config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	shaken := handshaken{k.Listener, ctx, make(chan net.Conn)}
	web := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ConnContext: withConnection,
		Handler: recordRequests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			k.handler.Load().(http.HandlerFunc)(w, r)
		}))}
	var running sync.WaitGroup
	k.close = func() {
		cancel()
		k.Listener.Close()
		web.Close()
		running.Wait()
	}
	running.Go(func() { web.Serve(shaken) })
	running.Go(func() {
		for {
			conn, err := k.Accept()
			if err != nil {
				return
			}
			state := k.states.Add(observed{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()})
			secure := tls.Server(&connection{conn, k, state}, config)
			context.AfterFunc(ctx, func() { secure.NetConn().Close() })
			running.Go(func() {
				if err := k.shakeHands(ctx, secure); err != nil {
					return
				}
				if o.raw == nil {
					shaken.put(secure)
					return
				}
				defer secure.Close()
				o.raw(secure)
			})
		}
	})
}

// shakeHands completes and records the handshake of a connection. It closes the connection after an error.
func (k *kubelet) shakeHands(ctx context.Context, secure *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	secure.NetConn().(*connection).change(func(s *observed) {
		if s.HandshakeError = err; err == nil {
			state := secure.ConnectionState()
			s.TLS = &state
		}
	})
	if err != nil {
		secure.NetConn().Close()
	}
	return err
}

// handshaken is a listener for an HTTP server. Its method Accept returns the connections that were passed to its method
// "put", until ctx is done.
type handshaken struct {
	net.Listener
	ctx   context.Context
	conns chan net.Conn
}

func (h handshaken) put(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.ctx.Done():
	}
}

func (h handshaken) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

// withKubelet returns the run function of a check with one kubelet, which is closed after the check.
func withKubelet(o kubeletOptions, check func(context.Context, *kubelet, *finding) error) runFunc {
	return func(ctx context.Context, r *run, f *finding) error {
		k, err := r.kubelet(ctx, o)
		if err != nil {
			return err
		}
		defer k.Close()
		return check(ctx, k, f)
	}
}

// dialed is the result of a request for a log: the first connection to the kubelet, and the response to the API client.
type dialed struct {
	*observed // nil if no connection arrived
	message   string
}

// connectTo makes the kube-apiserver connect to a new kubelet, without verification of the kubelet's certificate.
func (r *run) connectTo(ctx context.Context, o kubeletOptions) (dialed, error) {
	o.selfSigned = true
	k, err := r.kubelet(ctx, o)
	if err != nil {
		return dialed{}, err
	}
	defer k.Close()
	return k.connect(ctx)
}

// connect makes the kube-apiserver connect to the kubelet, without verification of the kubelet's certificate. The
// result has the first connection to the kubelet.
func (k *kubelet) connect(ctx context.Context) (d dialed, err error) {
	noResponse := fmt.Errorf("no response from kube-apiserver within %v", arrival)
	limited, cancel := context.WithTimeoutCause(ctx, arrival, noResponse)
	defer cancel()
	d.message, err = k.logsInsecurely(limited).text()
	if err != nil && errors.Is(context.Cause(limited), noResponse) {
		d.message, err = noResponse.Error(), nil
	}
	if all := k.states.All(); len(all) > 0 {
		d.observed = &all[0]
	}
	return d, err
}

// withHandshake returns the run function of a check that examines the run's first connection. On this connection, the
// kube-apiserver did not verify the kubelet's certificate. If the TLS handshake failed nevertheless, the check is
// skipped.
func withHandshake(check func(context.Context, *run, *finding, *observed) error) runFunc {
	return func(ctx context.Context, r *run, f *finding) error {
		first, err := r.handshake()
		if err != nil {
			return err
		}
		return check(ctx, r, f, first)
	}
}

// newFirstConnection makes the kube-apiserver connect to a kubelet that does not misbehave. All checks that use
// withHandshake examine this connection.
func (r *run) newFirstConnection(ctx context.Context) (dialed, error) {
	d, err := r.connectTo(ctx, kubeletOptions{node: nodeOptions{name: "visit"}})
	if err == nil && (d.observed == nil || d.Hello == nil) {
		err = fmt.Errorf("kube-apiserver did not connect, or did not start TLS: %s", d.message)
	}
	return d, err
}

// handshake returns the first connection of the run. If the TLS handshake failed, the error has the type blocked.
func (r *run) handshake() (*observed, error) {
	d, err := r.firstConnection()
	if err == nil && d.TLS == nil {
		err = blocked{"client.presented", "no handshake with kube-apiserver succeeds; see client.presented"}
	}
	return d.observed, err
}
