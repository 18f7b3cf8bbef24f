#!/usr/bin/env bash
# Examines the files of a release in the folder DIST, and fails if one is not as it must be:
#
#   packaging/verify.sh DIST
set -euo pipefail
[ $# = 1 ] && [ -f "$1/checksums.txt" ] || { echo "usage: packaging/verify.sh DIST, a folder of make release" >&2; exit 2; }
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "verify.sh: $1" >&2
	exit 1
}
# has checks that a list has an entry. Its arguments are the name of a file, its list, and the entry.
has() { grep -qxF -- "$3" <<<"$2" || fail "$1 lacks $3"; }

sha256sum --check --quiet checksums.txt
shopt -s nullglob
archives=(*.tar.gz *.zip) packages=(*.deb *.rpm) sboms=(*.cdx.json)
[ ${#archives[@]} -gt 0 ] || fail "there are no archives"
for file in "${archives[@]}" "${packages[@]}" "${sboms[@]}"; do has checksums.txt "$(cut -c67- checksums.txt)" "$file"; done

for archive in "${archives[@]}"; do
	name=${archive%.tar.gz} name=${name%.zip}
	platform=${name#fauxlet_v*_}
	[ -f "$name.cdx.json" ] || fail "$archive has no SBOM $name.cdx.json"
	rm -rf "$work/files" && mkdir "$work/files"
	case $archive in
	*.zip) unzip -q "$archive" -d "$work/files" ;;
	*) tar -xzf "$archive" -C "$work/files" ;;
	esac
	list=$(cd "$work/files" && find . -type f -printf '%P\n')
	program=fauxlet
	case $platform in windows_*) program=fauxlet.exe ;; esac
	for entry in "$program" LICENSE THIRD_PARTY_LICENSES.txt completions/fauxlet.bash completions/_fauxlet \
		completions/fauxlet.fish completions/fauxlet.ps1 man/fauxlet.1 man/fauxlet-serve.1; do
		has "$archive" "$list" "$entry"
	done
	[ -x "$work/files/$program" ] || fail "$archive: $program is not executable"
	build=$(go version -m "$work/files/$program" | tr '\t' ' ')
	for setting in CGO_ENABLED=0 GOOS="${platform%_*}" GOARCH="${platform#*_}" -trimpath=true -tags=grpcnotrace \
		vcs.modified=false; do
		has "$archive" "$build" " build $setting"
	done
	! grep -qF "$HOME/" "$work/files/$program" || fail "$archive: the program has the path of a folder in $HOME"
	if [ "$platform" = "$(go env GOHOSTOS)_$(go env GOHOSTARCH)" ]; then
		version=$("$work/files/$program" version --output json)
		has "$archive" "$version" "  \"version\": \"$(sed 's/^fauxlet_//; s/_[^_]*_[^_]*$//' <<<"$name")\","
		has "$archive" "$version" "  \"commit\": \"$(sed -n 's/.*vcs.revision=//p' <<<"$build")\","
	fi
done
for sbom in "${sboms[@]}"; do
	grep -q '"bomFormat": "CycloneDX"' "$sbom" && [ "$(grep -c '"purl": "pkg:golang/' "$sbom")" -gt 50 ] ||
		fail "$sbom does not list the modules of the program"
done
for deb in *.deb; do
	list=$(dpkg-deb --contents "$deb" | awk '{ print $1, $2, $6 }')
	has "$deb" "$list" "-rwxr-xr-x root/root ./usr/bin/fauxlet"
	has "$deb" "$list" "-rw-r--r-- root/root ./usr/lib/systemd/system/fauxlet.service"
	has "$deb" "$list" "-rw-r--r-- root/root ./usr/share/man/man1/fauxlet-serve.1.gz"
	has "$deb" "$(dpkg-deb --info "$deb" conffiles)" /etc/fauxlet/kubelet.yaml
	rm -rf "$work/files" && dpkg-deb --extract "$deb" "$work/files"
	unit=$work/fauxlet.service
	sed "s#/usr/bin/fauxlet#$work/files/usr/bin/fauxlet#" "$work/files/usr/lib/systemd/system/fauxlet.service" >"$unit"
	systemd-analyze verify --man=no "$unit" || fail "$deb: systemd-analyze verify does not accept fauxlet.service"
	# The exposure is a number from 0 to 100. It is about 16 today.
	report=$(systemd-analyze security --offline=yes --threshold=20 --no-pager "$unit") ||
		fail "$deb: fauxlet.service is exposed too much: $report"
done
echo "verify.sh: ${#archives[@]} archives, ${#packages[@]} packages and ${#sboms[@]} SBOMs are as they must be"
