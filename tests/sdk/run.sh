#!/bin/sh
# Installs the SDKs (pinned, into this folder) and runs them with and without the recorder.
# Arguments go to pytest. Environment: see README.md beside this file.
set -eu
cd "$(dirname "$0")"

if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
fi
if ! cmp -s package-lock.json node_modules/.installed.json; then
    npm ci --silent --no-audit --no-fund
    cp package-lock.json node_modules/.installed.json
fi
if [ -z "${APILOG_DIRECT:-}" ] && [ -z "${APILOG_BINARY:-}" ]; then
    cargo build --quiet --manifest-path ../../Cargo.toml
fi
exec .venv/bin/python -m pytest -q -p no:cacheprovider "$@"
