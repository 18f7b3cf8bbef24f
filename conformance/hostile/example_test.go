package hostile_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"fauxlet/conformance/hostile"
)

// A client of kubelets must not follow redirects: a kubelet never sends one, and a stolen node could send the client
// and its credential elsewhere. Here http.Client is the client under test.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var kubelet hostile.Kubelet
	kubelet.Misbehave(ctx, hostile.Redirect(http.StatusFound, "another server", "http://192.0.2.1/stolen"))
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			kubelet.Serve(conn)
		}
	}()

	client := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		fmt.Println("would follow the redirect to", r.URL)
		return http.ErrUseLastResponse
	}}
	response, err := client.Get("http://" + listener.Addr().String() + "/containerLogs/shop/web/nginx")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	// Output:
	// would follow the redirect to http://192.0.2.1/stolen
	// 302 Found
}
