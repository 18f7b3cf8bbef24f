package fakeshell_test

import (
	"fmt"
	"io"

	"fauxlet/kubelettest"
	"fauxlet/kubelettest/fakeshell"
	"fauxlet/scenario"
)

// With the shell, the containers of a kubelet know many more commands. Without it, only a few, such as echo, cat and
// sleep.
func ExampleOption() {
	k, err := kubelettest.Start(fakeshell.Option(),
		kubelettest.WithPods(kubelettest.Pod("shop", "web", map[string]scenario.Container{"nginx": {}})))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()
	response, err := k.Client("kubelet-client").Post(k.URL+"/run/shop/web/nginx?cmd=seq+3", "", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	output, _ := io.ReadAll(response.Body)
	fmt.Printf("%s", output)
	// Output:
	// 1
	// 2
	// 3
}
