package pods

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/scenario"
)

// load is what a container does to the node: two waves, and small things that depend on its name.
type load struct {
	cpu    wave // nanocores
	memory wave // bytes
	// hash is the container's own; digits of it make up what nobody asks to be exact.
	hash uint64
}

const (
	millicore = 1e6
	mebibyte  = 1 << 20
	pageSize  = 4096
)

func newLoad(pod *v1.Pod, container *v1.Container, usage scenario.Usage) load {
	l := load{hash: hashOf(string(pod.UID), container.Name)}
	cpu := l.average(usage.CPU.ScaledValue(resource.Nano), container, v1.ResourceCPU, resource.Nano, uint64(l.digit(5, 50))*millicore)
	memory := l.average(usage.Memory.Value(), container, v1.ResourceMemory, 0, uint64(l.digit(20, 100))*mebibyte)
	l.cpu = wave{mean: cpu, swing: cpu / 4, period: uint64(4 * l.digit(60_000, 180_000)), phase: l.hash % 720_000}
	l.memory = wave{mean: memory, swing: memory / 20, period: l.cpu.period * 3, phase: l.hash % 2_160_000}
	if limit := positive(container.Resources.Limits, v1.ResourceCPU, resource.Nano); limit > 0 {
		l.cpu.below(limit)
	}
	if limit := positive(container.Resources.Limits, v1.ResourceMemory, 0); limit > 0 {
		l.memory.below(limit)
	}
	return l
}

// average is given, or made of the container's request (which is its limit, where it has only that), or of none.
func (l load) average(given int64, container *v1.Container, name v1.ResourceName, scale resource.Scale, none uint64) uint64 {
	if given > 0 {
		return uint64(given)
	}
	for _, list := range []v1.ResourceList{container.Resources.Requests, container.Resources.Limits} {
		if amount := positive(list, name, scale); amount > 0 {
			return amount/4*3 + 1
		}
	}
	return none
}

// positive is the amount of a resource, within what is sane; 0 where there is none.
func positive(list v1.ResourceList, name v1.ResourceName, scale resource.Scale) uint64 {
	amount, there := list[name]
	if !there || amount.Sign() <= 0 {
		return 0
	}
	most := scenario.MaxMemory
	if name == v1.ResourceCPU {
		most = scenario.MaxCPU
	}
	if amount.Cmp(most) > 0 {
		amount = most
	}
	return uint64(amount.ScaledValue(scale))
}

// digit is a number from low to high that depends on the container's name and on the two.
func (l load) digit(low, high int) int {
	return low + int(hashOf(string(binary.BigEndian.AppendUint64(nil, l.hash)), fmt.Sprint(low, high))%uint64(high-low+1))
}

func hashOf(parts ...string) uint64 {
	hash := fnv.New64a()
	for _, part := range parts {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	// FNV's last bytes hardly reach its upper bits.
	mixed := hash.Sum64()
	mixed ^= mixed >> 32
	mixed *= 0x9e3779b97f4a7c15
	return mixed ^ mixed>>29
}

// wave goes up and down in straight lines: from mean-swing to mean+swing and back in a period of so many milliseconds,
// which is a multiple of 4. It is a function of the time of day, and so the same in each process.
//
// All of it is in integers: what is summed up never goes back, and a rate is exactly the difference of two sums.
type wave struct{ mean, swing, period, phase uint64 }

// below keeps the wave at or below a limit.
func (w *wave) below(limit uint64) {
	w.mean = min(w.mean, limit)
	w.swing = min(w.swing, limit-w.mean)
}

// turn is how far into its period the wave is, at a time in milliseconds since 1970.
func (w wave) turn(ms int64) uint64 {
	return uint64(((ms+int64(w.phase))%int64(w.period) + int64(w.period)) % int64(w.period))
}

// at is the wave's value.
func (w wave) at(ms int64) uint64 {
	turn := w.turn(ms)
	turn = min(turn, w.period-turn)
	return w.mean - w.swing + mulDiv(w.swing, 4*turn, w.period)
}

// sum is the integral over a time in milliseconds since 1970, in units of the value times seconds, rounded down. It never
// falls as to grows.
func (w wave) sum(from, to int64) uint64 {
	if to <= from {
		return 0
	}
	scale := 1000 * w.period
	high, low := bits.Mul64(w.mean, uint64(to-from)*w.period)
	// The part that swings is zero after each half of a period.
	swung := w.swung(to) - w.swung(from)
	swingHigh, swingLow := bits.Mul64(w.swing, uint64(max(swung, -swung)))
	var carry uint64
	if swung < 0 {
		low, carry = bits.Sub64(low, swingLow, 0)
		high, _ = bits.Sub64(high, swingHigh, carry)
	} else {
		low, carry = bits.Add64(low, swingLow, 0)
		high, _ = bits.Add64(high, swingHigh, carry)
	}
	quotient, _ := bits.Div64(high%scale, low, scale)
	return quotient
}

// swung is the integral of the swing alone since the last turn, times the period, for a swing of 1.
func (w wave) swung(ms int64) int64 {
	period, turn := int64(w.period), int64(w.turn(ms))
	if half := period / 2; turn >= half {
		turn -= half
		return turn*period - 2*turn*turn
	}
	return 2*turn*turn - turn*period
}

// mulDiv is a×b÷c, whatever a×b is, where the result is below 1<<64.
func mulDiv(a, b, c uint64) uint64 {
	high, low := bits.Mul64(a, b)
	quotient, _ := bits.Div64(high%c, low, c)
	return quotient
}

// usageOf is what a container was said to use.
func (e *entry) usageOf(container string) scenario.Usage { return e.of(container).is.Usage }
