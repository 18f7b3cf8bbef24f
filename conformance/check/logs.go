package check

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// logResponse is the kube-apiserver's response to a request for a log.
type logResponse struct {
	body []byte
	err  error // the error that kubectl would print
}

// status returns the Status object in the response, or nil if the response contains no Status.
func (a logResponse) status() *metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(a.err, &status) {
		return nil
	}
	s := status.Status()
	return &s
}

// String returns the text that kubectl would print: the error, or the log.
func (a logResponse) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return string(a.body)
}

// text returns the text that kubectl would print, or an error if the kube-apiserver did not respond.
func (a logResponse) text() (string, error) {
	if a.err != nil && a.status() == nil {
		return "", fmt.Errorf("no response from kube-apiserver: %w", a.err)
	}
	return a.String(), nil
}

// logs requests the log of the Node's pod.
func (n *node) logs(ctx context.Context) logResponse { return n.readLogs(ctx, v1.PodLogOptions{}) }

// logsInsecurely requests the log without verification of the kubelet's certificate.
func (n *node) logsInsecurely(ctx context.Context) logResponse {
	return n.readLogs(ctx, v1.PodLogOptions{InsecureSkipTLSVerifyBackend: true})
}

func (n *node) readLogs(ctx context.Context, o v1.PodLogOptions) logResponse {
	stream, err := n.streamLogs(ctx, o)
	if err != nil {
		return logResponse{nil, err}
	}
	defer stream.Close()
	body, err := io.ReadAll(stream)
	return logResponse{body, err}
}

// streamLogs requests the log of the Node's pod. The caller must close the returned log.
func (n *node) streamLogs(ctx context.Context, o v1.PodLogOptions) (io.ReadCloser, error) {
	return n.run.client.CoreV1().Pods(n.pod.Namespace).GetLogs(n.pod.Name, &o).Stream(ctx)
}
