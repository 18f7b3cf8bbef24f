package kubelettest_test

import (
	"fmt"
	"net/http"

	"fauxlet/kubelettest"
)

// healthOf is the function under test. It returns the status of a kubelet's health check.
func healthOf(client *http.Client, url string) string {
	response, err := client.Get(url + "/healthz")
	if err != nil {
		return "unreachable"
	}
	defer response.Body.Close()
	return response.Status
}

// Start starts a kubelet where there is no testing.T: in TestMain, in the BeforeSuite of a Ginkgo suite, or in a
// program. The caller closes the kubelet.
func ExampleStart() {
	k, err := kubelettest.Start(kubelettest.WithNodeName("node-7"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()

	fmt.Println(healthOf(k.Client("kubelet-client"), k.URL))
	fmt.Println(healthOf(k.Client(kubelettest.NoCredential), k.URL))
	for _, d := range k.Decisions() {
		fmt.Println(d.Outcome())
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
	// allowed
	// refused
}
