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
	// err is the error that a user of kubectl would see.
	err error
	// took is the time until the end of the body.
	took time.Duration
}

// status is the Status in the response; nil if it has none.
func (a logResponse) status() *metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(a.err, &status) {
		return nil
	}
	s := status.Status()
	return &s
}

// String is the text that a user of kubectl would see: the error, or the log.
func (a logResponse) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return string(a.body)
}

// text is the text that a user of kubectl would see. It returns an error if there was no response, so that the check
// does not complete.
func (a logResponse) text() (string, error) {
	if a.err != nil && a.status() == nil {
		return "", fmt.Errorf("no response from kube-apiserver: %w", a.err)
	}
	return a.String(), nil
}

// logs requests the log of the Node's pod. o may be nil.
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
