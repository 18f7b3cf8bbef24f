package host

import (
	"net/http"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/internal/faulty"
	"fauxlet/internal/node"
	"fauxlet/server"
)

// makeFaults makes the decorators that apply the host's active faults to a node.
func (h *Host) makeFaults(n *Node) {
	n.faults = faulty.NewNode(n.Name(), h.faults, h.logger)
	n.faults.BlackHoles = h.blackHoles
	n.faults.StaticPod = func(namespace, pod string) string {
		if found, ok := n.store.Get(namespace, pod); ok && node.IsStatic(found) {
			return nameInScenario(found)
		}
		return ""
	}
}

// injectFaults changes the options of a node's server so that the server applies the host's active faults. When the
// node listens, [Node.followFaults] also applies the faults to its ports and caches.
func (n *Node) injectFaults(options *server.Options) {
	options.Decorators = server.Decorators{ClockSkew: n.faults.ClockSkew, WrapClientCA: n.faults.ClientCA,
		WrapHandler: n.faults.Handler(server.PathTarget), ConfigureHTTP: n.faults.ConfigureHTTP, Usage: n.faults.Usage}
	options.Collectors = append(options.Collectors, n.faults.Collector())
}

// followFaults applies the active faults to the ports of a node that listens, until the ports are closed.
func (n *Node) followFaults() {
	if l := n.listeners; l.Secure != nil {
		l.Secure = n.faults.Listener(l.Secure, true)
	}
	if l := n.listeners; l.ReadOnly != nil {
		l.ReadOnly = n.faults.Listener(l.ReadOnly, false)
	}
}

// reviewClients returns the clients that send TokenReviews and SubjectAccessReviews. The argument "wrap" is a function
// that adds faults to a transport. Each client has its own rate limit, so that a flood of invalid tokens delays neither
// authorization nor the node's other requests. A kubelet uses one limit for all requests.
func (c *cluster) reviewClients(wrap func(http.RoundTripper) http.RoundTripper) (
	authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error,
) {
	config := c.connection.Config
	transport := *c.transport
	transport.Transport = wrap(c.transport.Transport)
	tokens, err := authenticationv1.NewForConfigAndClient(config, &transport)
	if err != nil {
		return nil, nil, err
	}
	access, err := authorizationv1.NewForConfigAndClient(config, &transport)
	return tokens, access, err
}
