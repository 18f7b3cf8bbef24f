package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// Version is a version of Kubernetes whose kubelet fauxlet stands in for: a minor version, and a patch version. The
// zero value is the newest version. Versions can be compared with ==, if they come from [ParseVersion].
type Version struct{ minor, patch int }

// patches has the newest patch version of each minor version that fauxlet can emulate, beginning with oldestMinor. The
// kubelet's server of these patch versions was compared with fauxlet.
var patches = []int{14, 14, 13, 13, 4, 4, 3, 2}

const oldestMinor = 30

var newestMinor = oldestMinor + len(patches) - 1

// Versions returns the newest patch version of each minor version that fauxlet can emulate, oldest first.
func Versions() []Version {
	var all []Version
	for i, patch := range patches {
		all = append(all, Version{oldestMinor + i, patch})
	}
	all[len(all)-1] = Version{}
	return all
}

// Oldest returns the oldest version that fauxlet can emulate, with the patch version 0.
func Oldest() Version { return Version{oldestMinor, 0} }

// ParseVersion parses a version such as 1.33, v1.33 or 1.33.5. Without a patch version, the result is the newest patch
// version of the minor version that was compared with a kubelet. What a distribution appends, as in v1.33.5-gke.100 or
// v1.33.5+k3s1, is ignored.
func ParseVersion(text string) (Version, error) {
	number, _, _ := strings.Cut(strings.TrimPrefix(text, "v"), "+")
	number, _, _ = strings.Cut(number, "-")
	parts := strings.Split(number, ".")
	var numbers []int
	for _, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || part[0] == '+' {
			return Version{}, fmt.Errorf("%q is not a version of Kubernetes; want for example 1.%d or 1.%d.5", text,
				newestMinor, newestMinor-1)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 || len(numbers) > 3 || numbers[0] != 1 || numbers[1] < oldestMinor || numbers[1] > newestMinor {
		return Version{}, fmt.Errorf("cannot emulate version %q; want one from 1.%d to 1.%d, for example 1.%d or "+
			"1.%d.5", text, oldestMinor, newestMinor, newestMinor, newestMinor-1)
	}
	v := Version{numbers[1], patches[numbers[1]-oldestMinor]}
	if len(numbers) == 3 {
		v.patch = numbers[2]
	}
	if v.full() == (Version{}).full() {
		return Version{}, nil
	}
	return v, nil
}

// full returns the version with its numbers, even if it is the zero value.
func (v Version) full() Version {
	if v == (Version{}) {
		return Version{newestMinor, patches[len(patches)-1]}
	}
	return v
}

// String returns the minor version, such as 1.33.
func (v Version) String() string { return fmt.Sprintf("1.%d", v.full().minor) }

// GitVersion returns the version as a kubelet reports it, such as v1.33.13.
func (v Version) GitVersion() string { return fmt.Sprintf("v1.%d.%d", v.full().minor, v.full().patch) }

// Set parses a version, as [ParseVersion] does. With the method Type, it makes Version a value of a flag.
func (v *Version) Set(text string) (err error) {
	*v, err = ParseVersion(text)
	return err
}

// Type returns the name of the type in help texts.
func (v *Version) Type() string { return "version" }

// before reports whether v is older than the minor version in text, such as 1.33.
func (v Version) before(text string) bool {
	if text == "" {
		return false
	}
	minor, err := strconv.Atoi(strings.TrimPrefix(text, "1."))
	must(err)
	return v.full().minor < minor
}

// has reports whether v has a change that came with a minor version, and with patch versions of older minor versions.
func (v Version) has(since string, backports []string) bool {
	if !v.before(since) {
		return true
	}
	return slices.ContainsFunc(backports, func(backport string) bool {
		fix := version.MustParseGeneric(backport)
		return int(fix.Minor()) == v.full().minor && v.full().patch >= int(fix.Patch())
	})
}
