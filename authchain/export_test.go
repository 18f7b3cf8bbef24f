package authchain

import "time"

// Tests of failed reviews use this short backoff, so that they do not wait between retries as long as a kubelet does.
func init() { retryBackoff.Duration = time.Millisecond }
