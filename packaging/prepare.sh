#!/usr/bin/env bash
# Writes the files of a release that do not depend on the platform into bin/release: completions, manual pages and
# licenses. goreleaser calls it before it builds:
#
#   packaging/prepare.sh VERSION DATE
#
# VERSION is such as v0.1.0. DATE is the time of the commit, such as 2026-01-31T12:00:00Z.
set -euo pipefail
[ $# = 2 ] || { echo "usage: packaging/prepare.sh VERSION DATE" >&2; exit 2; }
version=$1 date=${2%%T*}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$PWD/bin/release
unset GOOS GOARCH # the programs below run here

rm -rf "$out"
mkdir -p "$out/man-gz"
# With the flags of the release, so that the packages are compiled only once.
CGO_ENABLED=0 go test -trimpath -tags grpcnotrace -vet=off -count=1 -run '^TestRelease' ./cmd/fauxlet \
	-args -release-files "$out" -release-version "$version" -release-date "$date"
for page in "$out"/man/*.1; do gzip -9n <"$page" >"$out/man-gz/${page##*/}.gz"; done

go run ./packaging/notices >"$out/THIRD_PARTY_LICENSES.txt"
{
	echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
	echo "Upstream-Name: fauxlet"
	echo "Comment: THIRD_PARTY_LICENSES.txt has the licenses of the modules that the program is linked with."
	echo
	echo "Files: *"
	echo "Copyright: The fauxlet authors"
	echo "License: Apache-2.0"
	echo " On Debian systems, the license is in /usr/share/common-licenses/Apache-2.0."
} >"$out/copyright"
