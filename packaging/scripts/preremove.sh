#!/bin/sh
# An upgrade removes the old package too: only a removal stops what runs.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --no-reload disable --now connect-proxy.service 'connect-proxy@*.service' || true
	fi
	;;
esac
