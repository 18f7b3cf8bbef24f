package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"go.uber.org/zap"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/internal/reviewapi"
)

// reviewsCluster is the name of the cluster in a kubeconfig that the demo has written. Another name means that the user
// has replaced the kubeconfig.
const reviewsCluster = "fauxlet-reviews"

// The method "reviews" returns the review API, which replaces a kube-apiserver, and a listener on which the caller must
// serve the API. The listener has the address in the folder's kubeconfig. If there is no kubeconfig or the port is in
// use, the listener has a free port, and the method writes the kubeconfig. If the kubeconfig names another cluster,
// that cluster answers the reviews, and all results are nil.
func (f *Folder) reviews(logger *zap.Logger) (*reviewapi.Server, net.Listener, error) {
	last, err := f.lastReviews()
	if err != nil || last == nil {
		return nil, nil, err
	}
	reviews, err := reviewapi.New(reviewapi.Options{RBAC: []string{f.path("rbac.yaml")}, Tokens: f.path("tokens.csv"),
		CallerToken: last.token, CA: f.ca, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", last.address)
	if err != nil {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
	}
	address := listener.Addr().String()
	if address != last.address {
		if err := reviews.WriteKubeconfig(f.path("kubeconfig"), address); err != nil {
			listener.Close()
			return nil, nil, err
		}
	}
	logger.Info("serving the review API in place of a kube-apiserver",
		zap.String("address", address), zap.String("from", reviews.Summary()))
	return reviews, listener, nil
}

// checkKubeconfig returns an error if a user in the folder's kubeconfig has a credential plugin. Such a plugin is a
// program that runs as the user of the demo, and a folder that was copied or downloaded may contain any kubeconfig.
func (f *Folder) checkKubeconfig() error {
	path := f.path("kubeconfig")
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil // lastReviews reports the error
	}
	for name, user := range config.AuthInfos {
		if user.Exec != nil {
			return fmt.Errorf("%s: users: %q: exec would run the program %q, and the demo runs no program of a "+
				"kubeconfig; use a client certificate or a token, or run fauxlet serve --kubeconfig", path, name,
				user.Exec.Command)
		}
	}
	return nil
}

// reviewsEndpoint is the address of the review API, and the token that the kubelet sends to it.
type reviewsEndpoint struct{ address, token string }

// lastReviews reads the endpoint of the review API from the folder's kubeconfig. If there is no kubeconfig, it returns
// an endpoint with port 0. If the kubeconfig names another cluster, it returns nil.
func (f *Folder) lastReviews() (*reviewsEndpoint, error) {
	path := f.path("kubeconfig")
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return &reviewsEndpoint{address: "127.0.0.1:0"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w; delete the file, and the demo writes a new one", path, err)
	}
	if current := config.Contexts[config.CurrentContext]; current == nil || current.Cluster != reviewsCluster {
		return nil, nil
	}
	last, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w; delete the file, and the demo writes a new one", path, err)
	}
	return &reviewsEndpoint{strings.TrimPrefix(last.Host, "https://"), last.BearerToken}, nil
}
