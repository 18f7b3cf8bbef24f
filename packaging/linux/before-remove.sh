#!/bin/sh
# dpkg calls this script with "remove" or "upgrade", rpm with the number of packages that are left.
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now fauxlet.service || true
	fi
fi
