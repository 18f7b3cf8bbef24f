//go:build before131

package main

import kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"

func allowCgroupV1(*kubeletconfig.KubeletConfiguration) {}

func reloadsServingCertificate() bool { return false }
