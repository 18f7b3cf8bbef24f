#!/bin/sh
# A new service is neither enabled nor started: it needs a kubeconfig first. See docs/install.md.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart fauxlet.service || true # after an upgrade, if it runs
fi
