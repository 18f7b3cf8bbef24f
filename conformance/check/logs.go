package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// logResponse is the kube-apiserver's response to a request for a log.
type logResponse struct {
	body []byte
	// err is the error that kubectl would print.
	err error
	// took is the time between the request and the end of the response body.
	took time.Duration
}

// status is the Status object in the response; nil if the response has none.
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

// text returns the text that kubectl would print. It returns an error if the kube-apiserver did not respond; the
// check then does not complete.
func (a logResponse) text() (string, error) {
	if a.err != nil && a.status() == nil {
		return "", fmt.Errorf("no response from kube-apiserver: %w", a.err)
	}
	return a.String(), nil
}

// logs requests the log of the Node's pod. The options o may be nil.
func (n *node) logs(ctx context.Context, o *v1.PodLogOptions) logResponse {
	if o == nil {
		o = &v1.PodLogOptions{}
	}
	began := time.Now()
	stream, err := n.run.client.CoreV1().Pods(n.pod.Namespace).GetLogs(n.pod.Name, o).Stream(ctx)
	if err != nil {
		return logResponse{nil, err, time.Since(began)}
	}
	defer stream.Close()
	body, err := io.ReadAll(stream)
	return logResponse{body, err, time.Since(began)}
}

// logsInsecurely requests the log without verification of the kubelet's certificate.
func (n *node) logsInsecurely(ctx context.Context) logResponse {
	return n.logs(ctx, &v1.PodLogOptions{InsecureSkipTLSVerifyBackend: true})
}
