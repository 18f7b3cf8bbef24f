#!/usr/bin/env bash
# Builds fauxlet for action.yaml, from the sources that GitHub has unpacked for the action.
#
#   build.sh key          prints key=HASH-VERSION, with a hash of all source files
#   build.sh build FILE   builds the program FILE; this needs Go
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${GITHUB_ACTION_REF:-unknown}
case $version in *[!A-Za-z0-9._/+-]*) version=unknown ;; esac # the version becomes a part of -ldflags

case "${1-} $#" in
"key 1")
	# An unpacked action has no git repository. Files in bin/ are not sources.
	hash=$(find . \( -name .git -o -path ./bin \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 openssl dgst -sha256 -r |
		openssl dgst -sha256 -r)
	echo "key=${hash%% *}-$version"
	;;
"build 2")
	mkdir -p "$(dirname "$2")"
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$version" -o "$2" ./cmd/fauxlet
	;;
*)
	echo "usage: build.sh key | build.sh build FILE" >&2
	exit 2
	;;
esac
