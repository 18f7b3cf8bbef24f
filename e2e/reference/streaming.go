//go:build !before136

package main

import (
	"net/url"

	"k8s.io/component-base/configz"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

type (
	execOptions     = remotecommand.Options
	forwardOptions  = portforward.V4Options
	terminalSize    = remotecommand.TerminalSize
	streamingServer = streaming.Server
)

func newStreamingServer(base *url.URL, runtime streaming.Runtime) (streaming.Server, error) {
	config := streaming.DefaultConfig
	config.BaseURL = base
	return streaming.NewServer(config, runtime)
}

func setConfigz(entry *configz.Config, value *kubeletconfigv1beta1.KubeletConfiguration) error {
	return entry.Set(value)
}
