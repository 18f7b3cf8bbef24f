// Package expect has the assertions and waits that all end-to-end tests share. Each function fails the test that
// calls it.
package expect

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// NoError ends the test if err is not nil.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Contains fails the test unless the parameter "text" contains the parameter "part". The failure message begins with
// the given name of the text.
func Contains(t testing.TB, name, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: %q does not contain %q", name, text, part)
	}
}

// File returns the content of a file. It ends the test if the file cannot be read.
func File(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	NoError(t, err)
	return string(data)
}

// Page returns the body of an HTTP response to a GET without credentials.
func Page(t testing.TB, url string) string {
	t.Helper()
	response, err := http.Get(url)
	NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	NoError(t, err)
	return string(body)
}

// Eventually calls the given function every 25 ms until the function returns the empty string. After the timeout
// Eventually ends the test and prints the last text from the function.
func Eventually(t testing.TB, timeout time.Duration, what string, problem func() string) {
	t.Helper()
	if last := Within(timeout, problem); last != "" {
		t.Fatalf("%s: not true after %v: %s", what, timeout, last)
	}
}

// Within calls the given function every 25 ms until the function returns the empty string. After the timeout Within
// returns the last text from the function.
func Within(timeout time.Duration, problem func() string) string {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		last := problem()
		if last == "" {
			return ""
		}
		select {
		case <-deadline.C:
			return last
		case <-tick.C:
		}
	}
}
