package server

import (
	"k8s.io/apiserver/pkg/server/flagz"
	"k8s.io/apiserver/pkg/server/statusz"
	"k8s.io/component-base/compatibility"

	"fauxlet/config"
)

// component is the kubelet's name on /flagz and /statusz.
const component = "kubelet"

// installZPages serves /flagz and /statusz, each if its feature gate is on. It must be called after all other paths
// have been installed, because /statusz lists the installed paths. The argument debug is false on the read-only port,
// and if enableDebuggingHandlers is false. (kubelet: Server.InstallZPages)
func (r *router) installZPages(c *config.Config, debug bool) {
	if !c.Version.Has(config.ZPages) {
		return
	}
	if debug && c.Enabled("ComponentFlagz") {
		r.buckets["flagz"] = false
		flagz.Install(r, component, flagsReader(c.Flagz()))
	}
	open := c.Version.Has(config.OpenStatusz) && !c.Version.Has(config.ProtectedStatusz)
	if (debug || open) && c.Enabled("ComponentStatusz") {
		r.buckets["statusz"] = false
		version := compatibility.NewEffectiveVersionFromString(c.Version.String(), "", "")
		statusz.Install(r, component, statusz.NewRegistry(version, statusz.WithListedPaths(r.handled)))
	}
}

// flagsReader is a flagz.Reader that returns fixed values.
type flagsReader map[string]string

func (f flagsReader) GetFlagz() map[string]string { return f }
