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

// answer is what the apiserver said to its own client.
type answer struct {
	// body is what came, all of it.
	body []byte
	// err is why there is no more of it; what a user of kubectl would see.
	err error
	// took is how long it was until the end.
	took time.Duration
}

// status is the Status that the apiserver answered with; nil where it answered with something else, or not at all.
func (a answer) status() *metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(a.err, &status) {
		return nil
	}
	s := status.Status()
	return &s
}

// said is the answer in a line: what a user of kubectl would see.
func (a answer) said() string {
	if a.err != nil {
		return a.err.Error()
	}
	return string(a.body)
}

// told is what the apiserver said, whatever it is. The error is that it said nothing: then nothing is known about it.
func (a answer) told() (string, error) {
	if a.err != nil && a.status() == nil {
		return "", fmt.Errorf("no answer from the apiserver: %w", a.err)
	}
	return a.said(), nil
}

// logs asks for the log of the Node's pod. Nil options: all of it.
func (n *node) logs(ctx context.Context, o *v1.PodLogOptions) answer {
	if o == nil {
		o = &v1.PodLogOptions{}
	}
	began := time.Now()
	stream, err := n.run.client.CoreV1().Pods(n.pod.Namespace).GetLogs(n.pod.Name, o).Stream(ctx)
	if err != nil {
		return answer{nil, err, time.Since(began)}
	}
	defer stream.Close()
	body, err := io.ReadAll(stream)
	return answer{body, err, time.Since(began)}
}

// logsInsecurely asks for the log whatever certificate the kubelet has.
func (n *node) logsInsecurely(ctx context.Context) answer {
	return n.logs(ctx, &v1.PodLogOptions{InsecureSkipTLSVerifyBackend: true})
}
