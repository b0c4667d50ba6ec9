#!/bin/sh
# Drives deploy/dev-stack/compose.yaml: in containers where Docker runs, else its services as processes of this machine
# (APILOG_NATIVE=1 wants that in any case). APILOG_BINARY is the program to run natively; without it, one is built.
set -eu
cd "$(dirname "$0")"

if [ -z "${APILOG_BINARY:-}" ]; then
    cargo build --quiet --manifest-path ../../Cargo.toml
fi
python=$(../deploy/python.sh)
exec "$python" drive.py
