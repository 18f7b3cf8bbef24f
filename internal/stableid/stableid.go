// Package stableid derives ids from names, so that every process gets the same id for the same name.
package stableid

import (
	"crypto/sha256"
	"fmt"
)

// UUID returns a UUID that depends only on a name. The UUID has version 8 of RFC 9562, which is for
// application-specific rules.
func UUID(name string) string {
	sum := sha256.Sum256([]byte("fauxlet " + name))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
