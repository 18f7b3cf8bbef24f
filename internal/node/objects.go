package node

import (
	"context"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
)

// objects reads the objects to which the pods of a node refer. It implements [pods.Objects]. It gets each object by its
// name, because the Node authorizer allows a node's own credential exactly that: the ConfigMaps and Secrets of the pods
// that are bound to the node, and tokens for these pods.
type objects struct{ *member }

func (o objects) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return o.fleet.options.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (o objects) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return o.fleet.options.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (o objects) Token(ctx context.Context, pod *v1.Pod,
	request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	return o.fleet.options.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx,
		pods.ServiceAccount(pod), request, metav1.CreateOptions{})
}

func (o objects) KubernetesService(ctx context.Context) (*v1.Service, error) {
	return o.fleet.options.Client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes",
		metav1.GetOptions{})
}

func (o objects) Services(ctx context.Context, namespace string) ([]v1.Service, error) {
	list, err := o.fleet.options.Client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Missing logs a warning. It logs no text of the API server, because an error could repeat what was read or sent.
func (o objects) Missing(pod *v1.Pod, missing pods.MissingObject) {
	fields := []zap.Field{zap.Stringer("pod", keyOf(pod)), zap.String("object", missing.Object)}
	switch reason := apierrors.ReasonForError(missing.Err); {
	case apierrors.IsForbidden(missing.Err):
		fields = append(fields, zap.String("reason", string(reason)), zap.String("permission", missing.Permission))
	case reason != metav1.StatusReasonUnknown:
		fields = append(fields, zap.String("reason", string(reason)))
	case missing.Key != "":
		fields = append(fields, zap.String("reason", "it has no such key"), zap.String("key", missing.Key))
	default:
		fields = append(fields, zap.String("reason", "no valid answer from the apiserver"))
	}
	o.logger().Warn("a container lacks the files and variables from an object that cannot be read; a kubelet would "+
		"not start it", fields...)
}
