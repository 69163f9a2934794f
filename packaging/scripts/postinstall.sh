#!/bin/sh
# The proxies run as a user of their own, whose group may read the configuration.
# Proxies that run are left alone, so that an upgrade cuts no connection: restart
# them when it suits.
set -e
if ! getent group connect-proxy >/dev/null; then
	if command -v groupadd >/dev/null; then groupadd --system connect-proxy; else addgroup -S connect-proxy; fi
fi
if ! getent passwd connect-proxy >/dev/null; then
	if command -v useradd >/dev/null; then
		useradd --system --gid connect-proxy --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin connect-proxy
	else
		adduser -S -D -H -h /nonexistent -s /sbin/nologin -G connect-proxy connect-proxy
	fi
fi
chown root:connect-proxy /etc/connect-proxy /etc/connect-proxy/connect-proxy.env
chmod 0750 /etc/connect-proxy
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
