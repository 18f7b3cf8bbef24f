//go:build before136

package main

import (
	"net/url"

	clientgo "k8s.io/client-go/tools/remotecommand"
	"k8s.io/component-base/configz"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/kubelet/pkg/cri/streaming"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

type (
	execOptions     = remotecommand.Options
	forwardOptions  = portforward.V4Options
	streamingServer = streaming.Server
	terminalSize    = clientgo.TerminalSize
)

func newStreamingServer(base *url.URL, runtime streaming.Runtime) (streaming.Server, error) {
	config := streaming.DefaultConfig
	config.BaseURL = base
	return streaming.NewServer(config, runtime)
}

func setConfigz(entry *configz.Config, value *kubeletconfigv1beta1.KubeletConfiguration) error {
	entry.Set(value)
	return nil
}
