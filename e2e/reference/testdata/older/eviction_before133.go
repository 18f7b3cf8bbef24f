//go:build before133

package main

import kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"

func mergesEvictionDefaults(*kubeletconfig.KubeletConfiguration) bool { return false }
