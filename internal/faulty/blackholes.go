package faulty

import (
	"container/list"
	"net"
	"sync"
)

// MostBlackHoles is the default limit of a [BlackHoles].
const MostBlackHoles = 1000

// BlackHoles limits the number of connections that connection-black-hole faults leave unanswered and open. Without a
// limit, clients could use up the file descriptors of the process: the server does not count these connections, because
// it considers them closed.
type BlackHoles struct {
	most int

	mu   sync.Mutex
	open list.List // of net.Conn, oldest first
}

// NewBlackHoles returns a BlackHoles that allows the given number of connections, at least 1.
func NewBlackHoles(most int) *BlackHoles { return &BlackHoles{most: max(1, most)} }

// add adds a connection. If there are then too many, it closes the oldest.
func (b *BlackHoles) add(c net.Conn) *list.Element {
	b.mu.Lock()
	defer b.mu.Unlock()
	added := b.open.PushBack(c)
	if b.open.Len() > b.most {
		b.open.Remove(b.open.Front()).(net.Conn).Close()
	}
	return added
}

// remove removes a connection that is closed.
func (b *BlackHoles) remove(e *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open.Remove(e)
}
