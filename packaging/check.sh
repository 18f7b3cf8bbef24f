#!/usr/bin/env bash
# Builds the release of the last commit twice, in two clones, and fails if a file differs. Then it examines the files, and
# tries the deb in a chroot.
#
#   packaging/check.sh [--fresh]
#
# With --fresh, the second build has a build cache of its own, which starts empty: it compiles everything again, on all
# platforms, which takes half an hour or more.
set -euo pipefail
case "$#-${1-}" in
0- | 1---fresh) ;;
*) echo "usage: packaging/check.sh [--fresh]" >&2; exit 2 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for build in first second; do
	start=$SECONDS
	git clone --quiet --no-local "$repository" "$work/$build"
	if [ "$build-${1-}" = second---fresh ]; then export GOCACHE=$work/cache; fi
	make -C "$work/$build" release >"$work/$build.log" 2>&1 || { tail -50 "$work/$build.log" >&2; exit 1; }
	echo "$build build: $((SECONDS - start)) s"
done
unset GOCACHE

cmp "$work/first/dist/checksums.txt" "$work/second/dist/checksums.txt" ||
	{ diff "$work/first/dist/checksums.txt" "$work/second/dist/checksums.txt" >&2; exit 1; }
echo "both builds have these checksums:"
cat "$work/first/dist/checksums.txt"
(cd "$work/first/dist" && ls -l -- *.tar.gz *.zip *.deb *.rpm *.cdx.json | awk '{ printf "%9d %s\n", $5, $9 }')

packaging/verify.sh "$work/first/dist"
version=$(sed -n 's/.*"version":"\([^"]*\)".*/v\1/p' "$work/first/dist/metadata.json")
make packaging OWNER=octocat VERSION="$version" DIR="$work/first/dist"
packaging/try-deb.sh "$work"/first/dist/fauxlet_*_"$(dpkg --print-architecture)".deb
