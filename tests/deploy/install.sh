#!/bin/sh
# Installs what tests/deploy/run.sh checks with, where this is root and has apt-get. No service is started.
set -eu

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo 'not root, or no apt-get: what is not installed is not checked'
    exit 0
fi
missing=
for pair in nginx:nginx-light caddy:caddy promtool:prometheus docker-compose:docker-compose \
    systemd-analyze:systemd dpkg-shlibdeps:dpkg-dev openssl:openssl curl:curl shellcheck:shellcheck strace:strace; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# One after the other: what cannot be had must not keep the others away.
for package in $missing; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "$package cannot be installed"
done
