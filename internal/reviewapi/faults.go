package reviewapi

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Faults say how reviews go wrong, by their kind. The zero value is no fault.
type Faults struct {
	TokenReview         Fault
	SubjectAccessReview Fault
}

// Fault is one way for a review to go wrong, after its caller was authenticated and its body read. At most one of
// Status, Hang, Garbage and Drop is set; Latency may be added to each of them, or stand alone.
type Fault struct {
	// Status answers with this HTTP status (400 to 599) and a Status object: 403, 429, 500.
	Status int
	// RetryAfter, in seconds, is told with Status. client-go waits and asks again, up to 10 times, where it is told.
	RetryAfter int
	// Hang answers nothing until the caller goes away or the server stops.
	Hang bool
	// Garbage answers 201 with a body that is no review and no JSON.
	Garbage bool
	// Drop closes the caller's connection.
	Drop bool
	// Latency is waited before the answer.
	Latency time.Duration
	// Times is how many reviews go wrong before all is well again. 0: all, until the fault is taken away.
	Times int
}

// Validate says what is wrong with f, naming its field.
func (f Fault) Validate() error {
	ways := 0
	for _, set := range []bool{f.Status != 0, f.Hang, f.Garbage, f.Drop} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return fmt.Errorf("at most one of status, hang, garbage and drop can be set, not %d", ways)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d: want 400 to 599", f.Status)
	case f.RetryAfter < 0:
		return fmt.Errorf("retryAfter: %d: want 0 or more seconds", f.RetryAfter)
	case f.RetryAfter > 0 && f.Status == 0:
		return fmt.Errorf("retryAfter: %d: set status too, to 429 or 503", f.RetryAfter)
	case f.Latency < 0:
		return fmt.Errorf("latency: %s: want 0 or more", f.Latency)
	case f.Times < 0:
		return fmt.Errorf("times: %d: want 0 (always) or more", f.Times)
	}
	return nil
}

// String names the fault in one or two words; it is empty where there is none.
func (f Fault) String() string {
	var name string
	switch {
	case f.Status != 0:
		name = fmt.Sprintf("status %d", f.Status)
	case f.Hang:
		name = "hang"
	case f.Garbage:
		name = "garbage"
	case f.Drop:
		name = "drop"
	}
	if f.Latency == 0 {
		return name
	}
	if name != "" {
		name += " after "
	}
	return name + f.Latency.String()
}

// faults hands out the fault of each review in turn.
type faults struct {
	mu  sync.Mutex
	now Faults
}

func (f *faults) of(kind string) *Fault {
	if kind == kindTokenReview {
		return &f.now.TokenReview
	}
	return &f.now.SubjectAccessReview
}

// take gives the fault of the next review, and counts it.
func (f *faults) take(kind string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.of(kind)
	taken := *fault
	if fault.Times == 1 {
		*fault = Fault{}
	} else if fault.Times > 1 {
		fault.Times--
	}
	return taken
}

// SetFaults makes reviews go wrong from the next one on. It fails, and changes nothing, where a fault does not make
// sense.
func (s *Server) SetFaults(faults Faults) error {
	if err := faults.TokenReview.Validate(); err != nil {
		return fmt.Errorf("faults: tokenReview.%w", err)
	}
	if err := faults.SubjectAccessReview.Validate(); err != nil {
		return fmt.Errorf("faults: subjectAccessReview.%w", err)
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.now = faults
	return nil
}

// Faults tells the faults that are set; Times is how many reviews are still to go wrong.
func (s *Server) Faults() Faults {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.now
}

// garbage is neither JSON nor protobuf nor a review.
const garbage = "<html>not a review\x00\xff"

type connKey struct{}

// commit does what the fault says. It returns false where the review is to be answered as ever. The error is for the
// caller to be told.
func (f Fault) commit(w http.ResponseWriter, r *http.Request, resource schema.GroupResource) (done bool, err error) {
	if f.Hang || f.Latency > 0 {
		// The body was read. Left in place, the server's read timeout would end the request's context.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Status != 0:
		return true, f.error(resource)
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // net/http's word for: no answer
	case f.Garbage:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(garbage))
		return true, nil
	case f.Drop:
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			_ = conn.Close()
		}
		panic(http.ErrAbortHandler)
	}
	return false, nil
}

func (f Fault) error(resource schema.GroupResource) error {
	err := apierrors.NewGenericServerResponse(f.Status, "post", resource, "", "a fault was set on this review", f.RetryAfter, false)
	err.ErrStatus.Details = &metav1.StatusDetails{Group: resource.Group, Kind: resource.Resource, RetryAfterSeconds: int32(f.RetryAfter)}
	err.ErrStatus.Message = fmt.Sprintf("%s: a fault was set on this review", err.ErrStatus.Message)
	return err
}
