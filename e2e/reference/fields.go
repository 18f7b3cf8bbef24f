//go:build !before131

package main

import (
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/features"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
)

func allowCgroupV1(config *kubeletconfig.KubeletConfiguration) { config.FailCgroupV1 = false }

func reloadsServingCertificate() bool {
	return utilfeature.DefaultFeatureGate.Enabled(features.ReloadKubeletServerCertificateFile)
}
