package node

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	nodeutil "k8s.io/component-helpers/node/util"
	netutils "k8s.io/utils/net"
)

// controllerManagedAttach marks nodes whose volumes the attach-detach controller attaches. (kubelet: pkg/volume/util)
const controllerManagedAttach = "volumes.kubernetes.io/controller-managed-attach-detach"

// These are the older names of the OS and architecture labels. Kubelets still set them. (k8s.io/kubelet/pkg/apis)
const (
	labelBetaOS   = "beta.kubernetes.io/os"
	labelBetaArch = "beta.kubernetes.io/arch"
)

// description contains everything that a node reports about itself. Only the addresses may change while the node runs.
type description struct {
	name      string
	spec      *Spec
	addresses atomic.Pointer[[]v1.NodeAddress]
}

// DefaultCapacity returns the default capacity of a node, without the number of pods, which comes from maxPods.
func DefaultCapacity() v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse("8"), v1.ResourceMemory: resource.MustParse("32Gi"),
		v1.ResourceEphemeralStorage: resource.MustParse("200Gi")}
}

func describe(spec *Spec) (*description, error) {
	d := &description{name: cmp.Or(spec.Name, spec.Config.NodeName), spec: spec}
	if _, err := allocatable(d.capacity(), spec.Config.Kubelet.SystemReserved,
		spec.Config.Kubelet.KubeReserved); err != nil {
		return nil, err
	}
	return d, d.findAddresses(spec)
}

// template returns a new Node, but without addresses, conditions and allocatable extended resources. It is made for
// each report, because a process with many nodes has no memory to spare for it.
func (d *description) template() *v1.Node {
	spec, c, kubelet := d.spec, d.spec.Config, &d.spec.Config.Kubelet
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: d.name, Labels: map[string]string{
			v1.LabelHostname: d.name, v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH,
			labelBetaOS: runtime.GOOS, labelBetaArch: runtime.GOARCH,
		}},
		Spec: v1.NodeSpec{Taints: slices.Clone(kubelet.RegisterWithTaints), ProviderID: kubelet.ProviderID},
	}
	maps.Copy(node.Labels, c.NodeLabels)
	if kubelet.EnableControllerAttachDetach == nil || *kubelet.EnableControllerAttachDetach {
		node.Annotations = map[string]string{controllerManagedAttach: "true"}
	}
	status := &node.Status
	status.DaemonEndpoints.KubeletEndpoint.Port = spec.Port
	status.NodeInfo = v1.NodeSystemInfo{
		MachineID: spec.Machine.ID, SystemUUID: spec.Machine.SystemUUID, BootID: spec.Machine.BootID,
		KernelVersion: spec.Machine.Kernel, OSImage: spec.Machine.OS,
		ContainerRuntimeVersion: "fauxlet://" + spec.Version,
		KubeletVersion:          spec.KubeletVersion, OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	if !c.Enabled("DisableNodeKubeProxyVersion") {
		//lint:ignore SA1019 older kubelets set this field, although it is deprecated
		status.NodeInfo.KubeProxyVersion = spec.KubeletVersion
	}
	// The apiserver uses this feature to choose the protocol of exec, attach and port-forward streams. Fauxlet declares
	// no other feature.
	if feature := "ExtendWebSocketsToKubelet"; c.Enabled("NodeDeclaredFeatures") && c.Enabled(feature) {
		status.DeclaredFeatures = []string{feature}
	}
	if c.Enabled("KubeletInUserNamespace") {
		status.NodeInfo.RunningInUserNamespace = new(bool)
	}
	status.Capacity = d.capacity()
	status.Allocatable, _ = allocatable(status.Capacity, kubelet.SystemReserved, kubelet.KubeReserved) // see describe
	return node
}

// capacity returns the capacity of the node, with the number of pods.
func (d *description) capacity() v1.ResourceList {
	kubelet := &d.spec.Config.Kubelet
	capacity := maps.Clone(d.spec.Capacity)
	if capacity == nil {
		capacity = DefaultCapacity()
	}
	// podsPerCore can lower the number of pods. (kubelet: nodestatus.MachineInfo)
	pods := int64(kubelet.MaxPods)
	if kubelet.PodsPerCore > 0 {
		pods = min(pods, capacity.Cpu().Value()*int64(kubelet.PodsPerCore))
	}
	capacity[v1.ResourcePods] = *resource.NewQuantity(pods, resource.DecimalSI)
	for _, huge := range []v1.ResourceName{"hugepages-1Gi", "hugepages-2Mi"} {
		if _, there := capacity[huge]; !there {
			capacity[huge] = *resource.NewQuantity(0, resource.BinarySI)
		}
	}
	return capacity
}

// findAddresses updates the node's addresses. A kubelet updates its addresses before each report.
func (d *description) findAddresses(spec *Spec) error {
	found, err := addresses(spec, d.name)
	if err != nil {
		return err
	}
	d.addresses.Store(&found)
	return nil
}

// allocatable returns capacity minus reservations. (kubelet: GetNodeAllocatableReservation. Eviction thresholds are not
// subtracted, because fauxlet never evicts.)
func allocatable(capacity v1.ResourceList, systemReserved, kubeReserved map[string]string) (v1.ResourceList, error) {
	left := maps.Clone(capacity)
	for name := range capacity {
		for field, reserved := range map[string]string{
			"systemReserved": systemReserved[string(name)], "kubeReserved": kubeReserved[string(name)],
		} {
			amount, err := resource.ParseQuantity(cmp.Or(reserved, "0"))
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %q: must be a quantity, as in 500m or 1Gi: %w", field, name, reserved,
					err)
			}
			left[name] = less(left[name], amount)
		}
	}
	for name, quantity := range capacity {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) && !quantity.IsZero() {
			left[v1.ResourceMemory] = less(left[v1.ResourceMemory], quantity)
		}
	}
	return left, nil
}

// The function "less" subtracts its second argument from its first. If the result is negative, it returns zero.
func less(of, amount resource.Quantity) resource.Quantity {
	left := of.DeepCopy()
	left.Sub(amount)
	if left.Sign() < 0 {
		left.Set(0)
	}
	return left
}

// addresses returns the addresses of the node. They come from the first available source: --node-ip; the address
// that the server listens on, unless it listens on all addresses; the node's name, if it is an IP address; the DNS
// record of the node's name; the network interface of the default route. (kubelet: nodestatus.NodeAddress. A kubelet
// rejects loopback addresses. Fauxlet accepts them, for a control plane on the same machine.)
func addresses(spec *Spec, name string) ([]v1.NodeAddress, error) {
	ips := spec.Config.NodeIPs
	specified := func(ip net.IP) bool { return ip != nil && !ip.IsUnspecified() }
	preferIPv4 := len(ips) == 0 || ips[0].To4() != nil
	var internal []net.IP
	switch bind := net.ParseIP(spec.Config.Kubelet.Address); {
	case len(ips) > 1 && specified(ips[0]) && specified(ips[1]):
		internal = ips[:2]
	case len(ips) > 0 && specified(ips[0]):
		internal = ips[:1]
	case specified(bind):
		internal = []net.IP{bind}
	case netutils.ParseIPSloppy(name) != nil:
		internal = []net.IP{netutils.ParseIPSloppy(name)}
	default:
		ip, err := resolve(name, preferIPv4)
		if err != nil {
			return nil, fmt.Errorf("no address found for node %s: %w; set --node-ip", name, err)
		}
		internal = []net.IP{ip}
	}
	var all []v1.NodeAddress
	for _, ip := range internal {
		all = append(all, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.String()})
	}
	all = append(all, v1.NodeAddress{Type: v1.NodeHostName, Address: name})
	for _, address := range spec.Addresses {
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, nil
}

// The function "resolve" looks up a name in the DNS. It returns an address of the preferred family if there is one, or
// else an address of the other family. If the DNS has no address, it returns the address of the network interface of
// the default route.
func resolve(name string, preferIPv4 bool) (net.IP, error) {
	found, _ := net.LookupIP(name)
	found = slices.DeleteFunc(found, func(ip net.IP) bool {
		return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast()
	})
	preferred := slices.IndexFunc(found, func(ip net.IP) bool { return (ip.To4() != nil) == preferIPv4 })
	switch {
	case preferred >= 0:
		return found[preferred], nil
	case len(found) > 0:
		return found[0], nil
	case preferIPv4:
		return utilnet.ResolveBindAddress(nil)
	}
	return utilnet.ResolveBindAddress(net.IPv6zero)
}

// ips returns the node's internal IPs. They are also the IPs of pods with hostNetwork.
func (d *description) ips() []string {
	var ips []string
	for _, address := range *d.addresses.Load() {
		if address.Type == v1.NodeInternalIP {
			ips = append(ips, address.Address)
		}
	}
	return ips
}

// The method "initial" returns the Node object that the node creates if the cluster has no Node of this name yet.
func (d *description) initial(now time.Time) *v1.Node {
	node := d.template()
	d.setStatus(node, ready, now)
	return node
}

// adopt returns an existing Node with the corrections that a kubelet makes: the default labels and the annotation about
// volumes. Other labels, and taints, stay as they are. (kubelet: updateDefaultLabels,
// reconcileCMADAnnotationWithExistingNode)
func (d *description) adopt(existing *v1.Node) *v1.Node {
	node, own := existing.DeepCopy(), d.template()
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	for _, label := range []string{v1.LabelHostname, v1.LabelTopologyZone, v1.LabelTopologyRegion,
		v1.LabelFailureDomainBetaZone, v1.LabelFailureDomainBetaRegion, v1.LabelInstanceTypeStable,
		v1.LabelInstanceType, v1.LabelOSStable, v1.LabelArchStable, labelBetaOS, labelBetaArch} {
		switch value, there := own.Labels[label]; {
		case !there:
		case value == "":
			delete(node.Labels, label)
		default:
			node.Labels[label] = value
		}
	}
	delete(node.Annotations, controllerManagedAttach)
	for name, value := range own.Annotations {
		metav1.SetMetaDataAnnotation(&node.ObjectMeta, name, value)
	}
	return node
}

// readiness is the status, reason and message of the Ready condition.
type readiness struct {
	status          v1.ConditionStatus
	reason, message string
}

var (
	ready = readiness{v1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"}
	// The variable "leaving" is the Ready condition while a machine shuts down. (kubelet: pkg/kubelet/nodeshutdown)
	leaving = readiness{v1.ConditionFalse, "KubeletNotReady", "node is shutting down"}
)

// setStatus sets the parts of the status that a kubelet sets, and keeps the rest. (kubelet: setNodeStatus)
func (d *description) setStatus(node *v1.Node, is readiness, now time.Time) {
	s, own := &node.Status, &d.template().Status
	s.Addresses = slices.Clone(*d.addresses.Load())
	if s.Capacity == nil {
		s.Capacity = v1.ResourceList{}
	}
	maps.Copy(s.Capacity, own.Capacity)
	// If another program added extended resources to the capacity, they are allocatable too.
	s.Allocatable = maps.Clone(s.Capacity)
	maps.Copy(s.Allocatable, own.Allocatable)
	s.DaemonEndpoints, s.NodeInfo, s.DeclaredFeatures = own.DaemonEndpoints, own.NodeInfo, own.DeclaredFeatures
	// A real kubelet that ran earlier under this name may have set these fields. Fauxlet supports none of them.
	s.Images, s.VolumesInUse, s.RuntimeHandlers, s.Features = nil, nil, nil, nil

	at := metav1.NewTime(now.Truncate(time.Second))
	for _, c := range []v1.NodeCondition{
		{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientMemory",
			Message: "kubelet has sufficient memory available"},
		{Type: v1.NodeDiskPressure, Status: v1.ConditionFalse, Reason: "KubeletHasNoDiskPressure",
			Message: "kubelet has no disk pressure"},
		{Type: v1.NodePIDPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientPID",
			Message: "kubelet has sufficient PID available"},
		{Type: v1.NodeReady, Status: is.status, Reason: is.reason, Message: is.message},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = at, at
		i, old := nodeutil.GetNodeCondition(s, c.Type)
		if old == nil {
			s.Conditions = append(s.Conditions, c)
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		s.Conditions[i] = c
	}
}

// The method "update" returns the Node with its current status. The result "changed" is false if only the heartbeat
// times differ. (kubelet: updateNode)
func (d *description) update(existing *v1.Node, is readiness, now time.Time) (node *v1.Node, changed bool) {
	node = existing.DeepCopy()
	if node.Labels[v1.LabelOSStable] != runtime.GOOS || node.Labels[v1.LabelArchStable] != runtime.GOARCH {
		metav1.SetMetaDataLabel(&node.ObjectMeta, v1.LabelOSStable, runtime.GOOS)
		metav1.SetMetaDataLabel(&node.ObjectMeta, v1.LabelArchStable, runtime.GOARCH)
		changed = true
	}
	d.setStatus(node, is, now)
	return node, changed || !equality.Semantic.DeepEqual(withoutHeartbeats(&existing.Status),
		withoutHeartbeats(&node.Status))
}

func withoutHeartbeats(status *v1.NodeStatus) *v1.NodeStatus {
	s := *status
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		s.Conditions[i].LastHeartbeatTime = metav1.Time{}
	}
	return &s
}
