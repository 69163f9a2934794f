#!/usr/bin/env bash
# Holds what `make packages` makes: two builds are byte for byte one; the list of
# components has every module of the program; units are good; the package of this
# machine is installed, its program runs by the unit's own command line as the unit's
# own user, and what is left after its removal is nothing. The .rpm is installed and
# removed in a directory. What is not checked for want of a program is said. As root,
# on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "packages-check: $*" >&2; exit 1; }
unchecked() { echo "packages-check: NOT CHECKED, for want of $1: $2" >&2; }
arch=$(dpkg --print-architecture)

rm -rf bin/dist
make --no-print-directory packages PACKAGES="$arch" >/dev/null
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
# From another directory, with nothing that was built before.
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$again"
(cd "$again" && GOCACHE="$again/cache" CGO_ENABLED=0 GOOS=linux GOARCH="$arch" \
	go build -trimpath -buildvcs=false -ldflags=-s -o program .)
cmp "$again/program" "bin/dist/connect-proxy-linux-$arch" || fail "two builds differ"
rm -rf "$again"

# What the program was linked from is what its list of components names.
sbom=bin/dist/connect-proxy.cdx.json
[ -s "$sbom" ] || fail "there is no $sbom"
if ! command -v python3 >/dev/null; then
	unchecked python3 "$sbom"
else
	python3 - "$sbom" <(go version -m "bin/dist/connect-proxy-linux-$arch" | awk '$1 == "dep" { print $2, $3 }') <<'PYTHON' || fail "$sbom is not of this program"
import json, sys
with open(sys.argv[1]) as f:
    sbom = json.load(f)
with open(sys.argv[2]) as f:
    linked = set(f.read().splitlines())
component = sbom["metadata"]["component"]
if (sbom["bomFormat"], component["type"], component["name"]) != ("CycloneDX", "application", "connect-proxy"):
    sys.exit(f"it is about {component}")
missing = linked - {f'{c["name"]} {c["version"]}' for c in sbom["components"]}
if missing or not linked:
    sys.exit(f"of {len(linked)} modules these are missing: {sorted(missing)}")
PYTHON
fi

deb=$(ls bin/dist/*_"$arch".deb)
dpkg -i "$deb" >/dev/null
trap 'dpkg -P connect-proxy >/dev/null 2>&1 || true' EXIT
connect-proxy version | grep -q "v$(sed -n 's/^const version = "\(.*\)"$/\1/p' connectproxy/cli/version.go)" || fail "another version is installed"
if ! command -v systemd-analyze >/dev/null; then
	unchecked systemd-analyze "whether the units are good"
else
	for unit in connect-proxy.service connect-proxy@.service; do
		# Without systemd as init and without man-db some of its own complaints remain.
		problems=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "/usr/lib/systemd/system/$unit" 2>&1 | grep -v "Command 'man" || true)
		[ -z "$problems" ] || fail "$unit: $problems"
		systemd-analyze security --offline=true --threshold=20 "/usr/lib/systemd/system/$unit" >/dev/null || fail "$unit: exposed too much"
	done
fi

# The service by its unit's command line, as its user.
cat >/etc/connect-proxy/connect-proxy.hcl <<'HCL'
service_name = "web"
upstream {
  destination_name = "db"
  local_bind_port  = 18181
}
HCL
chown root:connect-proxy /etc/connect-proxy/connect-proxy.hcl
chmod 0640 /etc/connect-proxy/connect-proxy.hcl
connect-proxy validate /etc/connect-proxy/connect-proxy.hcl >/dev/null
line=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/connect-proxy.service | sed 's/ \$CONNECT_PROXY_FLAGS//')
log=$(mktemp)
# No agent is there: it waits for one, which is what a proxy does.
# shellcheck disable=SC2086 # a command line
setpriv --reuid=connect-proxy --regid=connect-proxy --clear-groups --no-new-privs --bounding-set=-all $line -http-addr 127.0.0.1:1 2>"$log" &
pid=$!
for _ in $(seq 100); do
	grep -q 'starting connect-proxy' "$log" && break
	kill -0 $pid 2>/dev/null || break
	sleep 0.1
done
grep -q 'starting connect-proxy' "$log" || fail "the service does not start: $(cat "$log")"
kill -TERM $pid
wait $pid || fail "the service ended with $?: $(cat "$log")"
rm -f "$log"

zcat /usr/share/man/man1/connect-proxy.1.gz | grep -q sidecar-for || fail "the manual lacks a flag"
zcat /usr/share/man/man5/connect-proxy.hcl.5.gz | grep -q max_failures || fail "the manual lacks a key"

bash -n /usr/share/bash-completion/completions/connect-proxy || fail "the completion for bash is no shell text"
grep -q explain /usr/share/bash-completion/completions/connect-proxy || fail "the completion lacks a command"

dpkg -r connect-proxy >/dev/null
[ -f /etc/connect-proxy/connect-proxy.hcl ] || fail "the removal took the configuration along"
dpkg -P connect-proxy >/dev/null
for left in /usr/bin/connect-proxy /etc/connect-proxy /usr/lib/systemd/system/connect-proxy.service; do
	[ ! -e "$left" ] || fail "$left is left after the package is purged"
done

# The scripts are those of the .deb, and the directory has no shell to run them by.
rpm=$(ls bin/dist/*.rpm)
if ! command -v rpm >/dev/null; then
	unchecked rpm "$(basename "$rpm")"
else
	rpm -K --nosignature "$rpm" | grep -q 'digests OK' || fail "the digests of $rpm are wrong"
	diff <(dpkg-deb -c "$deb" | awk '!/^d/ { print substr($6, 2) }' | sort) <(rpm -qlvp "$rpm" | awk '!/^d/ { print $NF }' | sort) || fail "the .rpm has other files than the .deb"
	root=$(mktemp -d)
	trap 'rm -rf "$root"' EXIT
	rpm --force-debian --root "$root" --nodeps --noscripts -i "$rpm"
	cmp "$root/usr/bin/connect-proxy" "bin/dist/connect-proxy-linux-$arch" || fail "the .rpm has another program"
	[ "$(stat -c %a "$root/usr/bin/connect-proxy" "$root/etc/connect-proxy/connect-proxy.env" | tr '\n' ' ')" = "755 640 " ] || fail "the .rpm has other modes"
	rpm --force-debian --root "$root" --noscripts -e connect-proxy
	left=$(find "$root" -path '*connect-proxy*')
	[ -z "$left" ] || fail "left after the .rpm is removed: $left"
	rm -rf "$root"
fi
echo "packages-check: two builds are one; installed, run, removed and purged $(basename "$deb")"
