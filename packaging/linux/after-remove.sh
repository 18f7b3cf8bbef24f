#!/bin/sh
# dpkg calls this script with "purge" when the configuration is removed too. The state is certificates of the node.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
if [ "$1" = purge ]; then
	rm -rf /var/lib/fauxlet /var/lib/private/fauxlet
fi
