#!/bin/sh
# Asks a recorder with made-up traffic whatever its own document allows, and some of what it does not.
# Arguments go to schemathesis. See README.md beside this file.
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
fi
if [ -z "${APILOG_BINARY:-}" ]; then
    cargo build --quiet --manifest-path ../../Cargo.toml
fi
binary=${APILOG_BINARY:-$root/target/debug/api-log}

folder=$(mktemp -d)
recorder=
finish() {
    [ -z "$recorder" ] || kill "$recorder" 2>/dev/null || true
    [ -z "$recorder" ] || wait "$recorder" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; it = socket.socket(); it.bind(("127.0.0.1", 0)); print(it.getsockname()[1])'
}
# Made-up traffic first, then the recorder over what it has left.
"$binary" demo --seconds 3 --data-dir "$folder/data" >"$folder/demo.log" 2>&1 || {
    cat "$folder/demo.log"
    exit 1
}
api=$(free_port)
APILOG_PROXY_LISTEN=127.0.0.1:$(free_port) APILOG_PROXY_UPSTREAM=http://127.0.0.1:1 APILOG_API_LISTEN=127.0.0.1:$api \
    APILOG_STORAGE_DATA_DIR="$folder/data" APILOG_CAPTURE_ARENA_DIR="$folder/arenas" APILOG_INDEX_FULL_TEXT=true \
    "$binary" >"$folder/log" 2>&1 &
recorder=$!
APILOG_API="http://127.0.0.1:$api"
APILOG_TOKEN=$(cat "$folder/data/admin_token")
export APILOG_API APILOG_TOKEN

# Until the index is made anew, with the texts.
waited=0
until .venv/bin/python hooks.py ready; do
    waited=$((waited + 1))
    if [ "$waited" -gt 300 ] || ! kill -0 "$recorder" 2>/dev/null; then
        echo 'the recorder did not start:'
        cat "$folder/log"
        exit 1
    fi
    sleep 0.2
done

.venv/bin/python hooks.py attach "$folder/data"
document=$folder/openapi.json
.venv/bin/python hooks.py document >"$document"
.venv/bin/openapi-spec-validator "$document"

outcome=0
# What only reads goes first: what changes the recorder may delete everything that there is to read.
ask() {
    SCHEMATHESIS_HOOKS=hooks PYTHONPATH=. .venv/bin/schemathesis --config-file schemathesis.toml run "$document" \
        --url "$APILOG_API" --header "Authorization: Bearer $APILOG_TOKEN" "$@" || outcome=1
}
ask --include-method GET "$@"
ask --exclude-method GET "$@"
if ! kill -0 "$recorder" 2>/dev/null; then
    echo 'the recorder has ended'
    outcome=1
fi
if [ "$outcome" -ne 0 ]; then
    grep -E '"level":"(ERROR|WARN)"' "$folder/log" | tail -20 || true
fi
exit "$outcome"
