//go:build !before131

package main

import (
	oteltrace "go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientcertificate "k8s.io/client-go/util/certificate"
	"k8s.io/kubernetes/pkg/features"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/certificate"
)

func allowCgroupV1(config *kubeletconfig.KubeletConfiguration) { config.FailCgroupV1 = false }

func reloadsServingCertificate() bool {
	return utilfeature.DefaultFeatureGate.Enabled(features.ReloadKubeletServerCertificateFile)
}

// newServingCertificates returns a manager that reads the files of the serving certificate again when they change.
func newServingCertificates(certFile, keyFile string) (clientcertificate.Manager, error) {
	return certificate.NewKubeletServerCertificateDynamicFileManager(certFile, keyFile)
}

func newTracers() oteltrace.TracerProvider { return nooptrace.NewTracerProvider() }
