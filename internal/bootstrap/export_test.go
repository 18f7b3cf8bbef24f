package bootstrap

import "time"

// CheckEvery sets how often Run checks the certificate.
func (c *Connection) CheckEvery(period time.Duration) { c.period = period }
