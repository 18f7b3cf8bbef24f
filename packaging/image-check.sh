#!/usr/bin/env bash
# Builds the image of the last commit twice, in two copies of the repository, and fails if the results differ:
#
#   packaging/image-check.sh ARCHITECTURE...
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: packaging/image-check.sh ARCHITECTURE..." >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
for copy in first another/folder; do
	git clone --quiet . "$copies/$copy"
	make --no-print-directory -C "$copies/$copy" image ARCHES="$*" DIR=bin/image
done
diff --recursive --brief "$copies/first/bin/image" "$copies/another/folder/bin/image"
echo "both builds have the same files"
