#!/usr/bin/env bash
# Runs what the documents tell their readers to run: tests/docs/run.sh [page ...]
#
# Every block of shell in README.md, CONTRIBUTING.md, SECURITY.md and docs/ is run as its reader would, in front of real
# recordings, or says why not; names of metrics, fields, columns, keys and links must exist. pages.py says how a block is
# marked. APILOG_BINARY is the program; without it, the development build.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

if [[ -z ${APILOG_BINARY:-} ]]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml"
    export APILOG_BINARY=$root/target/debug/api-log
fi
for tool in jq sqlite3 curl zstd zstdcat unshare man; do
    command -v "$tool" >/dev/null && continue
    echo "docs: $tool is not installed: apt-get install jq sqlite3 curl zstd util-linux man-db" >&2
    exit 1
done
if ! unshare --map-root-user --net true 2>/dev/null; then
    echo 'docs: no network namespace can be made here (unshare --map-root-user --net), and the documents name fixed ports' >&2
    exit 1
fi
if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
fi
exec .venv/bin/python check.py "$@"
