package podstats

import (
	"math/big"
	"math/rand/v2"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/scenario"
)

// TestWaveSum compares the results of the method "sum" with the exact integral, computed with big.Rat.
func TestWaveSum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		w := wave{mean: 1 + random.Uint64N(1<<random.IntN(43)), period: 4 * (1 + random.Uint64N(500_000))}
		w.swing, w.phase = random.Uint64N(w.mean/2+1), random.Uint64N(1<<40)
		from := random.Int64N(2_000_000_000_000) - 1000
		to := from + random.Int64N(4*int64(w.period))
		want := new(big.Rat)
		for at := from; at < to; {
			// The wave changes direction every half period.
			half := int64(w.period / 2)
			next := min(to, at+half-int64(w.turn(at))%half)
			ends := new(big.Rat).Add(exactly(w, at), exactly(w, next)) // a trapezium
			want.Add(want, ends.Mul(ends, big.NewRat(next-at, 2_000)))
			at = next
		}
		floor := new(big.Int).Quo(want.Num(), want.Denom())
		if got := w.sum(from, to); floor.Cmp(new(big.Int).SetUint64(got)) != 0 {
			t.Fatalf("%+v: sum(%d, %d) = %d, want %s", w, from, to, got, want.FloatString(3))
		}
	}
}

func exactly(w wave, ms int64) *big.Rat {
	turn := w.turn(ms)
	turn = min(turn, w.period-turn)
	r := new(big.Rat).SetFrac64(int64(4*turn), int64(w.period))
	r.Sub(r, big.NewRat(1, 1))
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).SetUint64(w.swing)))
	return r.Add(r, new(big.Rat).SetInt(new(big.Int).SetUint64(w.mean)))
}

func TestWaveNeverFalls(t *testing.T) {
	// 100 cores for five years: this is close to the largest number of nanoseconds that fits into 64 bits.
	w := wave{mean: 100e9, swing: 25e9, period: 720_000, phase: 12_345}
	const years = 5 * 365 * 24 * 3_600_000
	last := uint64(0)
	for to := int64(1); to < years; to += years/5_000 + 1_237 {
		sum := w.sum(0, to)
		if sum < last {
			t.Fatalf("sum(0, %d) = %d, which is less than the earlier sum %d", to, sum, last)
		}
		last = sum
	}
	if want := w.mean * (years / 1000) / 10 * 9; last < want {
		t.Errorf("the sum after five years is %d, want more than %d", last, want)
	}
	if w.sum(5, 5) != 0 || w.sum(5, 4) != 0 {
		t.Error("the sum over an empty interval is not 0")
	}
	// Like a counter of the kernel, the sum wraps around when it exceeds 64 bits.
	w.mean = uint64(scenario.MaxCPU.ScaledValue(resource.Nano))
	w.swing = w.mean / 4
	w.sum(0, 20*years)
}

func TestWaveStaysBelowItsLimit(t *testing.T) {
	w := wave{mean: 100, swing: 25, period: 4_000}
	w.below(110)
	for at := range int64(4_000) {
		if v := w.at(at); v < 90 || v > 110 {
			t.Fatalf("at(%d) = %d", at, v)
		}
	}
	w.below(80)
	if w.mean != 80 || w.swing != 0 {
		t.Errorf("the wave is %+v, want a constant 80", w)
	}
}

func TestLoadIsMadeOfWhatIsKnown(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
	}
	pod := &v1.Pod{}
	pod.UID = "1"
	for name, test := range map[string]struct {
		resources      v1.ResourceRequirements
		usage          scenario.Usage
		cpuFrom, cpuTo uint64 // millicores
		memFrom, memTo uint64 // MiB
	}{
		"nothing": {cpuFrom: 5, cpuTo: 50, memFrom: 20, memTo: 100},
		"requests": {resources: v1.ResourceRequirements{Requests: list("400m", "1Gi")}, cpuFrom: 300, cpuTo: 300,
			memFrom: 768, memTo: 768},
		"limits": {resources: v1.ResourceRequirements{Limits: list("200m", "4Mi")}, cpuFrom: 150, cpuTo: 150,
			memFrom: 3, memTo: 3},
		"usage": {
			resources: v1.ResourceRequirements{Requests: list("400m", "1Gi")},
			usage:     scenario.Usage{CPU: resource.MustParse("2"), Memory: resource.MustParse("3Mi")},
			cpuFrom:   2_000, cpuTo: 2_000, memFrom: 3, memTo: 3,
		},
		"a limit below what would be made up": {resources: v1.ResourceRequirements{Limits: list("1m", "1Mi"),
			Requests: list("8m", "9Mi")}, cpuFrom: 1, cpuTo: 1, memFrom: 1, memTo: 1},
		"an absurd request": {resources: v1.ResourceRequirements{Requests: list("1e20", "1e20")},
			cpuFrom: 3_072_000, cpuTo: 3_072_000, memFrom: 192 << 20, memTo: 192 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoad(pod, &v1.Container{Name: "c", Resources: test.resources}, test.usage)
			if milli := l.cpu.mean / millicore; milli < test.cpuFrom || milli > test.cpuTo {
				t.Errorf("average CPU is %d millicores, want %d to %d", milli, test.cpuFrom, test.cpuTo)
			}
			if mib := l.memory.mean / mebibyte; mib < test.memFrom || mib > test.memTo {
				t.Errorf("average memory is %d MiB, want %d to %d", mib, test.memFrom, test.memTo)
			}
		})
	}
}
