//go:build !before134

package main

import (
	"context"

	"k8s.io/kubernetes/cmd/kubelet/app"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	"k8s.io/kubernetes/pkg/kubelet/server"
)

func load(ctx context.Context, loader configfiles.Loader) (*kubeletconfig.KubeletConfiguration, error) {
	return loader.Load(ctx)
}

func initializeTLS(ctx context.Context, o *settings) (*server.TLSOptions, error) {
	return app.InitializeTLS(ctx, o.flags, &o.config)
}
