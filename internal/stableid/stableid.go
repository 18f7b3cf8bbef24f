// Package stableid derives IDs from names, so that every process uses the same ID for the same name.
package stableid

import (
	"crypto/sha256"
	"fmt"
)

// UUID returns a UUID that depends only on the name. Its version is 8, the version of RFC 9562 for custom UUIDs.
func UUID(name string) string {
	sum := sha256.Sum256([]byte("fauxlet " + name))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
