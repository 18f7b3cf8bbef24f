package podstats

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/scenario"
)

// load describes how much of each resource a container uses. The CPU usage and the memory usage rise and fall over
// time, each as a wave. Less important values, such as the number of threads, are derived from a hash of the pod's UID
// and the container's name.
type load struct {
	cpu    wave   // nanocores
	memory wave   // bytes
	hash   uint64 // different for each container
}

const (
	millicore = 1e6
	mebibyte  = 1 << 20
	pageSize  = 4096
)

func newLoad(pod *v1.Pod, container *v1.Container, usage scenario.Usage) load {
	l := load{hash: hashOf(string(pod.UID), container.Name)}
	cpu := l.average(usage.CPU.ScaledValue(resource.Nano), container, v1.ResourceCPU, resource.Nano,
		uint64(l.digit(5, 50))*millicore)
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

// average returns the average usage of a resource. The parameter "given" is the average in the container's description,
// or 0 if the description has none. Without it, the average is three quarters of the container's request or, if there
// is no request, three quarters of its limit. If there is no limit either, the average is the parameter "none".
func (l load) average(given int64, container *v1.Container, name v1.ResourceName, scale resource.Scale,
	none uint64) uint64 {
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

// The function "positive" returns the amount of a resource in a list, but at most scenario.MaxCPU or
// scenario.MaxMemory. It returns 0 if the amount is missing or negative.
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

// digit returns a number from low to high that depends only on the load's hash and on the two bounds.
func (l load) digit(low, high int) int {
	return low + int(hashOf(string(binary.BigEndian.AppendUint64(nil, l.hash)),
		fmt.Sprint(low, high))%uint64(high-low+1))
}

func hashOf(parts ...string) uint64 {
	hash := fnv.New64a()
	for _, part := range parts {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	// The last bytes of the input hardly affect the upper bits of an FNV hash, so mix the bits.
	mixed := hash.Sum64()
	mixed ^= mixed >> 32
	mixed *= 0x9e3779b97f4a7c15
	return mixed ^ mixed>>29
}

// wave is a value that changes with time: it rises in a straight line from mean-swing to mean+swing, falls back in a
// straight line, and starts again. The field "period" is the time from one lowest point to the next in milliseconds,
// and must be a multiple of 4. The value depends only on the wall-clock time, so it is the same in every process.
//
// The calculations use only integers. With rounded floating-point numbers, a sum could decrease, and a rate could
// differ from the difference of two sums.
type wave struct{ mean, swing, period, phase uint64 }

// The method "below" lowers the mean and the swing of the wave so that the wave never exceeds a limit.
func (w *wave) below(limit uint64) {
	w.mean = min(w.mean, limit)
	w.swing = min(w.swing, limit-w.mean)
}

// The method "turn" returns how many milliseconds of the current period have passed at the time ms. The parameter "ms"
// is in milliseconds since 1970.
func (w wave) turn(ms int64) uint64 {
	return uint64(((ms+int64(w.phase))%int64(w.period) + int64(w.period)) % int64(w.period))
}

// The method "at" returns the value of the wave at the time ms, in milliseconds since 1970.
func (w wave) at(ms int64) uint64 {
	turn := w.turn(ms)
	turn = min(turn, w.period-turn)
	return w.mean - w.swing + mulDiv(w.swing, 4*turn, w.period)
}

// The method "sum" returns the integral of the wave between two times, rounded down. The times are in milliseconds
// since 1970. The integral is in the unit of the wave, multiplied by seconds: for example core-seconds for a wave in
// cores. With the same start, a later end never gives a smaller integral.
func (w wave) sum(from, to int64) uint64 {
	if to <= from {
		return 0
	}
	scale := 1000 * w.period
	baseHigh, baseLow := bits.Mul64(w.mean-w.swing, uint64(to-from)*w.period)
	swingHigh, swingLow := bits.Mul64(w.swing, w.swung(to)-w.swung(from))
	low, carry := bits.Add64(baseLow, swingLow, 0)
	high, _ := bits.Add64(baseHigh, swingHigh, carry)
	quotient, _ := bits.Div64(high%scale, low, scale)
	return quotient
}

// The method "swung" is a part of the calculation in the method "sum". It calculates with an auxiliary wave, which has
// the same period and phase as w but swings between 0 and 2. It returns the integral of the auxiliary wave up to the
// time ms, multiplied by the period. This number may overflow, but the difference of two such numbers is correct.
func (w wave) swung(ms int64) uint64 {
	turn := w.turn(ms)
	// The mean of the auxiliary wave is 1, so its integral over whole periods is the length of these periods.
	whole := (uint64(ms) + w.phase - turn) * w.period
	if rest := w.period - turn; rest < turn {
		return whole + w.period*w.period - 2*rest*rest
	}
	return whole + 2*turn*turn
}

// mulDiv returns a×b÷c. The product a×b may exceed 64 bits, but the result must not.
func mulDiv(a, b, c uint64) uint64 {
	high, low := bits.Mul64(a, b)
	quotient, _ := bits.Div64(high%c, low, c)
	return quotient
}
