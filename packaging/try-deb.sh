#!/usr/bin/env bash
# Installs a deb in a new chroot, runs the program, and removes the package. It fails if something goes wrong, or if a file
# is left. It needs root and mmdebstrap.
#
#   packaging/try-deb.sh DEB
set -euo pipefail
[ $# = 1 ] && [ -f "$1" ] || { echo "usage: packaging/try-deb.sh DEB" >&2; exit 2; }
for program in mmdebstrap curl; do
	command -v "$program" >/dev/null ||
		{ echo "try-deb.sh: $program is missing; apt-get install mmdebstrap curl" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "try-deb.sh: only root can make a chroot" >&2; exit 2; }

work=$(mktemp -d)
serve=
finish() {
	[ -z "$serve" ] || kill "$serve" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
root=$work/root
fail() {
	echo "try-deb.sh: $1" >&2
	exit 1
}
within() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
as_nobody=(chroot --userspec=65534:65534 "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/nowhere)
files() { (cd "$root" && find . -path ./var/lib/dpkg -prune -o -path ./var/log -prune -o -print | sort); }

mmdebstrap --quiet --variant=essential "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root"
chmod 755 "$work" "$root"
files >"$work/before"
cp "$1" "$root/fauxlet.deb"

echo "== install"
within dpkg --install /fauxlet.deb
"${as_nobody[@]}" fauxlet version
"${as_nobody[@]}" kubectl-fauxlet check --list >/dev/null
"${as_nobody[@]}" fauxlet certs ca --dir /tmp/pki >/dev/null
[ "$(stat -c %a "$root/tmp/pki/ca.key")" = 600 ] || fail "the key of the CA has the mode $(stat -c %a "$root/tmp/pki/ca.key")"

echo "== serve"
"${as_nobody[@]}" fauxlet serve --config /etc/fauxlet/kubelet.yaml --authentication-token-webhook=false \
	--authorization-mode AlwaysAllow --address 127.0.0.1 --port 0 --healthz-port 0 --admin-address= --cert-dir /tmp/pki --hostname-override node-1 \
	--ready-file /tmp/ready.json 2>"$work/serve.log" &
serve=$!
for _ in $(seq 300); do
	[ ! -e "$root/tmp/ready.json" ] || break
	kill -0 "$serve" 2>/dev/null || { cat "$work/serve.log" >&2; fail "fauxlet serve ended"; }
	sleep 0.1
done
address=$(sed -n 's/.*"secure":"\([^"]*\)".*/\1/p' "$root/tmp/ready.json")
status=$(curl -s -k -o /dev/null -w '%{http_code}' "https://$address/healthz")
[ "$status" = 401 ] || fail "a request without a credential got $status; the configuration of the package must refuse it with 401"
kill "$serve" && wait "$serve" || fail "fauxlet serve ended with $?"
serve=

echo "== install again, remove, purge"
echo "# changed" >>"$root/etc/fauxlet/kubelet.yaml"
within dpkg --install /fauxlet.deb >/dev/null
within dpkg --remove fauxlet
[ ! -e "$root/usr/bin/fauxlet" ] || fail "the program is left after the package was removed"
grep -q '^# changed' "$root/etc/fauxlet/kubelet.yaml" || fail "a changed configuration file was replaced or removed"
within dpkg --purge fauxlet
rm -r "$root/fauxlet.deb" "$root/tmp/pki" "$root/tmp/ready.json"
files | diff "$work/before" - || fail "files are left after the package was purged"
echo "try-deb.sh: installed, run, removed"
