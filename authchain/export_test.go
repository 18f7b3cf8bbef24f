package authchain

import "time"

// Tests of failing reviews do not wait for the real backoff.
func init() { retryBackoff.Duration = time.Millisecond }
