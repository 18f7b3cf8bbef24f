package bootstrap

import "time"

// LookEvery has Run look at the certificate more often than a kubelet.
func (c *Connection) LookEvery(period time.Duration) { c.period = period }
