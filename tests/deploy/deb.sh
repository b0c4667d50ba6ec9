#!/bin/sh
# The Debian package from its build to its purge, on this machine, which is left as it was. Wants root, dpkg and a machine
# that has no api-log and no running systemd; elsewhere it says why it does nothing, with exit code 77.
#
# APILOG_BINARY is the program that is packed. Without it the development build is: it takes no minutes to make, and what
# is tested is the package. APILOG_RELEASE=1 builds and packs what is shipped.
set -eu
cd "$(dirname "$0")"

if [ -z "${APILOG_BINARY:-}" ]; then
    if [ -n "${APILOG_RELEASE:-}" ]; then
        cargo build --quiet --profile dist --manifest-path ../../Cargo.toml
        export APILOG_BINARY="$PWD/../../target/dist/api-log"
    else
        cargo build --quiet --manifest-path ../../Cargo.toml
    fi
fi
python=$(./python.sh)
exec "$python" deb.py
