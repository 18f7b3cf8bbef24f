package node

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// apiReference returns the resource of an API object to which a pod refers, in the words of a kubelet's error, or an
// empty string if there is none. If a pod refers to several objects, the result is the one that every kubelet refuses.
// (k8s.io/kubernetes/pkg/api/pod, HasAPIObjectReference)
func apiReference(spec *v1.PodSpec) string {
	var found []string
	add := func(is bool, resource string) {
		if is {
			found = append(found, resource)
		}
	}
	add(cmp.Or(spec.ServiceAccountName, spec.DeprecatedServiceAccount) != "", "serviceaccounts")
	add(len(spec.ImagePullSecrets) > 0, "secrets")
	for _, c := range podlife.Containers(&v1.Pod{Spec: *spec}) {
		for _, from := range c.EnvFrom {
			add(from.SecretRef != nil, "secrets")
			add(from.ConfigMapRef != nil, "configmaps")
		}
		for _, env := range c.Env {
			add(env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil, "secrets")
			add(env.ValueFrom != nil && env.ValueFrom.ConfigMapKeyRef != nil, "configmaps")
		}
	}
	add(len(spec.ResourceClaims) > 0, "resourceclaims")
	for i := range spec.Volumes {
		v := &spec.Volumes[i].VolumeSource
		add(v.Secret != nil || hasSecretRef(v), "secrets")
		add(v.ConfigMap != nil, "configmaps (via configmap volumes)")
		add(v.CSI != nil, "csidrivers (via CSI volumes)")
		add(v.Glusterfs != nil, "endpoints (via glusterFS volumes)")
		add(v.PersistentVolumeClaim != nil, "persistentvolumeclaims")
		add(v.Ephemeral != nil, "persistentvolumeclaims (via ephemeral volumes)")
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			add(source.Secret != nil, "secrets (via projected volumes)")
			add(source.ConfigMap != nil, "configmaps (via projected volumes)")
			add(source.ServiceAccountToken != nil, "serviceaccounts (via projected volumes)")
			add(source.ClusterTrustBundle != nil, "clustertrustbundles")
			add(source.PodCertificate != nil, "podcertificates")
		}
	}
	switch i := slices.IndexFunc(found, func(resource string) bool { return isAlwaysRefused[resource] }); {
	case i >= 0:
		return found[i]
	case len(found) > 0:
		return found[0]
	}
	return ""
}

// hasSecretRef reports whether a volume reads credentials from a Secret.
func hasSecretRef(v *v1.VolumeSource) bool {
	return v.AzureFile != nil || v.CephFS != nil && v.CephFS.SecretRef != nil ||
		v.Cinder != nil && v.Cinder.SecretRef != nil || v.FlexVolume != nil && v.FlexVolume.SecretRef != nil ||
		v.RBD != nil && v.RBD.SecretRef != nil || v.ScaleIO != nil && v.ScaleIO.SecretRef != nil ||
		v.ISCSI != nil && v.ISCSI.SecretRef != nil || v.StorageOS != nil && v.StorageOS.SecretRef != nil
}
