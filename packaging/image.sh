#!/usr/bin/env bash
# Builds the container image with buildah. It needs no base image and no container engine:
#
#   packaging/image.sh DIR NAME ARCHITECTURE...
#
# DIR/oci is an OCI layout with the image for all given architectures, such as amd64. DIR/fauxlet-ARCHITECTURE.tar is an
# archive with one of these images, for docker load and kind load, in which its name is NAME, such as fauxlet:latest.
# DIR/fauxlet-ARCHITECTURE.cdx.json is its SBOM, made from the modules that Go records in the program. All of these files
# that an earlier run made are removed first.
#
# All times in the image are the time of the commit, and no path of the machine is in it. So two builds of a commit with
# the same versions of Go and buildah have the same digest. make passes VERSION, TAGS and LDFLAGS.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: packaging/image.sh DIR NAME ARCHITECTURE..." >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$1 name=$2
shift 2
for arch; do
	[[ $arch =~ ^[a-z0-9]+$ ]] || { echo "packaging/image.sh: \"$arch\" is not an architecture such as amd64" >&2; exit 2; }
done

: "${VERSION:?run make image}" "${TAGS?run make image}" "${LDFLAGS?run make image}"
command -v buildah >/dev/null || { echo "packaging/image.sh: buildah is missing: install it (Debian: apt-get install buildah)" >&2; exit 1; }
umask 022 # the modes of files are a part of the digest

storage=$(mktemp -d)
trap 'rm -rf "$storage"' EXIT
buildah=(buildah --storage-driver vfs --root "$storage/graph" --runroot "$storage/run")
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)

# The context of the stage "binary" in the Dockerfile.
context=$dir/context
rm -rf "$dir/oci" "$context" "$dir"/fauxlet-*.tar "$dir"/fauxlet-*.cdx.json # DIR may have other files
mkdir -p "$context/folders/certs" "$context/folders/tmp" "$context/licenses"
chmod 0700 "$context/folders/certs"
chmod 1777 "$context/folders/tmp"
cp LICENSE "$context/licenses/"
go run ./packaging/notices >"$context/licenses/THIRD_PARTY_LICENSES.txt"

for arch; do
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -tags "$TAGS" -ldflags "$LDFLAGS" \
		-o "$context/$arch/fauxlet" ./cmd/fauxlet
	go run -trimpath github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -noserial -notimestamp \
		-std -version "$VERSION" -output "$dir/fauxlet-$arch.cdx.json" "$context/$arch/fauxlet"
	id=$("${buildah[@]}" bud --quiet --isolation chroot --platform "linux/$arch" --file Dockerfile --target binary \
		--timestamp "$time" --identity-label=false --build-arg "VERSION=$VERSION" --build-arg "REVISION=$commit" \
		--manifest all "$context" | tail -1)
	"${buildah[@]}" push --quiet "$id" "docker-archive:$dir/fauxlet-$arch.tar:$name"
done
"${buildah[@]}" manifest push --quiet --all all "oci:$dir/oci:latest" >/dev/null
rm -rf "$context"
echo "$dir/oci: $(grep -o 'sha256:[0-9a-f]*' "$dir/oci/index.json")"
