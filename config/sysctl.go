package config

import "regexp"

// sysctlName is segments of lower-case letters, digits, - and _, parted by dots or slashes.
var sysctlName = regexp.MustCompile(`^(?:[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?$`)

func validSysctl(name string) bool {
	const longest = 253
	return len(name) <= longest && sysctlName.MatchString(name)
}
