package decisions

// Bytes returns the estimated size of everything that the Recorder keeps.
func (r *Recorder) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}
