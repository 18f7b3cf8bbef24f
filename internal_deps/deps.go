// Package internal_deps keeps agreed requirements alive until they are used.
package internal_deps

import (
	_ "k8s.io/apimachinery/pkg/util/proxy"
	_ "k8s.io/apiserver/pkg/util/proxy"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1"
	_ "k8s.io/cri-streaming/pkg/streaming"
	_ "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	_ "k8s.io/streaming/pkg/httpstream/wsstream"
	_ "mvdan.cc/sh/v3/interp"
)
