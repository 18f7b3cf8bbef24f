#!/usr/bin/env bash
# Fills the templates for krew and Homebrew, and writes the results to DIR/krew and DIR/homebrew:
#
#   packaging/fill.sh OWNER VERSION DIR
#
# DIR must have the archives of the release: fauxlet_VERSION_OS_ARCH.tar.gz, for each platform that a template names. Each
# archive has the program (fauxlet, or fauxlet.exe for windows) and LICENSE at its top.
set -euo pipefail

usage() {
	echo "fill.sh: $1" >&2
	exit 2
}
[ $# = 3 ] || usage "usage: packaging/fill.sh OWNER VERSION DIR"
owner=$1 version=$2 dir=$3
case $owner in "" | -* | *[!A-Za-z0-9-]*) usage "OWNER: \"$owner\" is not the name of an account of GitHub" ;; esac
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] ||
	usage "VERSION: \"$version\" is not a version such as v0.1.0"
[ -d "$dir" ] || usage "DIR: \"$dir\" is not a folder; build the archives first"

here=$(dirname "${BASH_SOURCE[0]}")
for template in krew/fauxlet.yaml homebrew/fauxlet.rb; do
	text=$(tail -n +2 "$here/$template") # without the comment about the template
	text=${text//OWNER/$owner}
	text=${text//VERSION/$version}
	while [[ $text =~ SHA256_([A-Z]+)_([A-Z0-9]+) ]]; do
		word=${BASH_REMATCH[0]} os=${BASH_REMATCH[1],,} arch=${BASH_REMATCH[2],,}
		archive=$dir/fauxlet_${version}_${os}_$arch.tar.gz
		[ -f "$archive" ] || usage "DIR: $archive is missing; build the archives of $version first"
		sum=$(openssl dgst -sha256 -r "$archive")
		text=${text//"$word"/${sum%% *}}
	done
	mkdir -p "$dir/$(dirname "$template")"
	printf '%s\n' "$text" >"$dir/$template"
	echo "$dir/$template"
done
