//go:build before131

package main

import (
	"errors"

	oteltrace "go.opentelemetry.io/otel/trace"
	clientcertificate "k8s.io/client-go/util/certificate"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
)

func allowCgroupV1(*kubeletconfig.KubeletConfiguration) {}

func reloadsServingCertificate() bool { return false }

// newServingCertificates is not called, because reloadsServingCertificate returns false.
func newServingCertificates(string, string) (clientcertificate.Manager, error) {
	return nil, errors.New("this version does not read the serving certificate again")
}

func newTracers() oteltrace.TracerProvider { return oteltrace.NewNoopTracerProvider() }
