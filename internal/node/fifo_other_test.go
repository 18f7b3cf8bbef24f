//go:build !unix

package node

// makeFIFO does nothing: this platform has no named pipes in folders.
func makeFIFO(string) error { return nil }
