package host

import (
	"cmp"
	"fmt"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/admin"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/reviewapi"
)

// Options configure a Host.
type Options struct {
	// Config is the kubelet's configuration. Required. If it names a kubeconfig, nodes send TokenReviews and
	// SubjectAccessReviews to the apiserver of that kubeconfig. With registerNode, nodes also join its cluster.
	Config *config.Config
	// Scenario is the path of a Scenario file, which [Host.Reload] reads again. Empty means no Scenario file.
	Scenario string
	Nodes    Nodes
	Admin    Admin
	// MetricsAddress is the host and port of a plain-HTTP listener for the metrics of the process and of all nodes.
	// The metrics of nodes have the label "node". Empty means no such listener.
	MetricsAddress string
	// Version is the version of the program. It appears in the user agent and in the status of Nodes.
	Version string
	// Logger receives one line for each Decision, and the events of the host. If Logger is nil, nothing is logged.
	Logger *zap.Logger
	// Observe, if set, receives every Decision of every node. It is called from many goroutines and must not block.
	Observe func(*authchain.Decision)
}

// Nodes sets the number of nodes, and what their Node objects report.
type Nodes struct {
	// Count is the number of nodes, each with its own name, port and pods. 0 means one node with the name in the
	// configuration. A Count above 0 requires a cluster that the nodes join. The field nodes of the Scenario file
	// overrides a Count above 0.
	Count int
	// NamePrefix is the beginning of the names of nodes if Count is above 0. A number follows, counted from 0. If
	// NamePrefix is empty, names begin with the name in the configuration and a dash.
	NamePrefix string
	// None starts the host without a node. [Host.Add] can add nodes later.
	None bool
	// Addresses are the addresses that each Node reports in addition to its IP addresses and its host name.
	Addresses []v1.NodeAddress
	// Capacity is the capacity that each Node reports. If it is nil, Nodes report [node.DefaultCapacity].
	Capacity v1.ResourceList
	// Deregister deletes each Node when the host stops. Otherwise the Node stays and is not ready.
	Deregister bool
}

// Admin configures the admin listener, which shows decisions and sets faults.
type Admin struct {
	// Address is the host and port of the admin listener. If it is empty, there is no admin listener.
	Address string
	// If Optional is set, a host that cannot listen on Address logs a warning and starts without an admin listener.
	// Otherwise [Host.Start] returns an error.
	Optional bool
	// Token is the bearer token that clients must send. Required if Address is not a loopback address.
	Token string
	// MakeToken makes a token on a loopback address if Token is empty. Programs of the same user find it with
	// [admin.NewLocalClient].
	MakeToken bool
	// KeepDecisions is the number of decisions that the host keeps for all nodes together. 0 means
	// [decisions.DefaultSize]. The maximum is [MaxDecisions].
	KeepDecisions int
	// Reviewer, if set, answers the TokenReviews and SubjectAccessReviews of a what-if. Without a Reviewer, a
	// what-if can only use the review results in the Decision.
	Reviewer *reviewapi.Server
	// SentRequest, if set, returns the request that led to a Decision. A what-if uses it, because unlike the Decision
	// the request includes the token. SentRequest returns nil if this process did not send the request.
	SentRequest func(*authchain.Decision) *offline.Request
	// Sender, if set, sends the requests that users enter on the admin page.
	Sender admin.Sender
}

// DefaultAdminAddress is the default address of the admin listener.
const DefaultAdminAddress = "127.0.0.1:10240"

// MaxDecisions is the upper limit of Admin.KeepDecisions. It prevents a mistyped number from using all memory.
const MaxDecisions = 1_000_000

// OptionError is an error in one field of Options.
type OptionError struct {
	// Field names the invalid field: either a field of Options, such as Nodes.Count, or a field of the kubelet
	// configuration, such as Config.Kubeconfig.
	Field string
	// Err is the reason. Its text begins with the value of the field if a reader needs the value to understand the
	// reason.
	Err error
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

func optionErrorf(field, format string, args ...any) error {
	return &OptionError{field, fmt.Errorf(format, args...)}
}

func (o *Options) validate() error {
	if o.Config == nil {
		return optionErrorf("Config", "required")
	}
	n := &o.Nodes
	last := o.nodeName(n.Count - 1)
	switch wrong := validation.IsDNS1123Subdomain(o.Config.NodeName); {
	case n.NamePrefix == "" && joins(o.Config) && len(wrong) > 0:
		return optionErrorf("Config.NodeName", "the host name %q cannot be the name of a node: %s", o.Config.NodeName,
			wrong[0])
	case n.Count < 0:
		return optionErrorf("Nodes.Count", "%d: must not be negative", n.Count)
	case n.NamePrefix != "" && n.Count == 0:
		return optionErrorf("Nodes.NamePrefix", "%q: needs a number of nodes, because a single node has the name in "+
			"the configuration", n.NamePrefix)
	case n.Count > 0 && len(validation.IsDNS1123Subdomain(last)) > 0:
		return optionErrorf("Nodes.NamePrefix", "%q makes the name %q: %s", n.NamePrefix, last,
			validation.IsDNS1123Subdomain(last)[0])
	case n.Count > 0 && !joins(o.Config):
		return optionErrorf("Nodes.Count", "%d: several nodes need a cluster: set kubeconfig, and leave registerNode "+
			"on", n.Count)
	case o.Admin.KeepDecisions < 0 || o.Admin.KeepDecisions > MaxDecisions:
		return optionErrorf("Admin.KeepDecisions", "%d: must be from 1 to %d", o.Admin.KeepDecisions, MaxDecisions)
	}
	return nil
}

// numbered reports whether the names of nodes end with a number. Otherwise there is a single node, which has the name
// in the configuration.
func (o *Options) numbered() bool { return o.Nodes.Count > 0 }

// nodeName returns the name of the i-th node.
func (o *Options) nodeName(i int) string {
	if !o.numbered() {
		return o.Config.NodeName
	}
	return fmt.Sprintf("%s%d", cmp.Or(o.Nodes.NamePrefix, o.Config.NodeName+"-"), i)
}

// joins reports whether nodes register with a cluster. They do if the configuration names a kubeconfig and registerNode
// is not false.
func joins(cfg *config.Config) bool {
	return cfg.Kubeconfig != "" && (cfg.Kubelet.RegisterNode == nil || *cfg.Kubelet.RegisterNode)
}
