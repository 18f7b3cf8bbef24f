package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/faults"
	"fauxlet/internal/node"
)

// Reload reads the Scenario file again. The file's pods, faults and number of nodes apply at once. In a cluster, its
// entries about containers apply to new pods, and to ephemeral containers that are added later; the containers of other
// pods keep their descriptions, even if they restart. If the file or a manifest in staticPodPath has an error, nothing
// changes. Call Start before Reload.
//
// If a node cannot be started or stopped, Reload returns an error, but everything else in the file applies.
func (h *Host) Reload() error {
	h.changing.Lock()
	defer h.changing.Unlock()
	next, err := h.scenario.load()
	if err != nil {
		return err
	}
	static, err := h.scenario.staticPodsWith(next)
	if err == nil {
		err = node.CheckStatic(static)
	}
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if err := h.checkPorts(next); err != nil {
		return fmt.Errorf("nothing was changed; %d nodes are running: %w", len(h.each()), err)
	}
	before := h.faults.List()
	if err := h.scenario.apply(next); err != nil {
		return err
	}
	h.logFaults(before)
	if err := h.setStaticPods(static); err != nil {
		return err
	}
	if !h.options.Nodes.None {
		if err := h.resize(); err != nil {
			return fmt.Errorf("cannot change the number of nodes; %d nodes are running: %w", len(h.each()), err)
		}
	}
	h.logger.Info("the scenario was read again", zap.Int("nodes", len(h.each())))
	return nil
}

// followManifests reads the static pods of staticPodPath every fileCheckFrequency, as a kubelet does, until the host
// stops.
func (h *Host) followManifests() error {
	every := h.options.Config.Kubelet.FileCheckFrequency.Duration
	if h.scenario.manifests.path == "" || every <= 0 {
		return nil
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-h.running.Done():
			return nil
		case <-ticker.C:
			h.changing.Lock()
			static, err := h.scenario.staticPods()
			if err == nil {
				err = h.setStaticPods(static)
			}
			h.changing.Unlock()
			if err != nil {
				h.logger.Error("the static pods were not changed", zap.Error(err))
			}
		}
	}
}

// setStaticPods sets the static pods of every registered node.
func (h *Host) setStaticPods(static []*v1.Pod) error {
	for _, n := range h.each() {
		if !n.registered() {
			continue
		}
		if err := n.cluster.fleet.SetStatic(n.Name(), static); err != nil {
			return err
		}
	}
	return nil
}

// logStart logs the warnings about the configuration, the kubelet flags that have no effect, and the active faults when
// the host starts.
func (h *Host) logStart() {
	cfg := h.options.Config
	for _, warning := range cfg.Warnings {
		h.logger.Warn(warning)
	}
	if len(cfg.Ignored) > 0 {
		h.logger.Info("these kubelet flags have no effect in fauxlet", zap.Strings("flags", cfg.Ignored))
	}
	if open := cfg.Kubelet; ptr.Deref(open.EnableServer, true) &&
		ptr.Deref(open.Authentication.Anonymous.Enabled, false) &&
		open.Authorization.Mode == kubeletconfigv1beta1.KubeletAuthorizationModeAlwaysAllow &&
		!net.ParseIP(open.Address).IsLoopback() {
		h.logger.Warn("any client that reaches the secure port may run commands in the pods, as with a kubelet that "+
			"has no --config: anonymous authentication is on and the authorization mode is AlwaysAllow; to prevent "+
			"this, set authentication.anonymous.enabled: false and authorization.mode: Webhook "+
			"(--anonymous-auth=false --authorization-mode=Webhook), or address: 127.0.0.1 (--address)",
			zap.String("address", open.Address))
	}
	h.logFaults(nil)
	if path := cfg.Kubelet.StaticPodPath; path != "" && joins(cfg) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			h.logger.Warn("staticPodPath does not exist: it adds no static pods", zap.String("path", path))
		}
	}
}

// logFaults logs which faults of the scenario have begun or ended since the previous read of the file, so that an
// operator does not mistake an injected failure for a real one.
func (h *Host) logFaults(before []*faults.Active) {
	now := h.faults.List()
	for _, a := range before {
		if a.Origin == ofScenario && !slices.Contains(now, a) {
			h.logger.Info("a fault has ended", zap.String("name", a.Name), zap.String("by", h.scenario.path))
		}
	}
	for _, a := range now {
		if a.Origin == ofScenario && !slices.Contains(before, a) {
			h.logger.Warn("a fault is active from now on", zap.String("name", a.Name), zap.String("kind", a.Kind),
				zap.String("by", h.scenario.path))
		}
	}
}
