package authchain

import "time"

// With this short backoff, tests of failed reviews do not wait as long as a kubelet waits between its attempts.
func init() { retryBackoff.Duration = time.Millisecond }
