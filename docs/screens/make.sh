#!/usr/bin/env bash
# Makes the pictures of `tail` and `tail --inflight`: a mock gateway, a recorder and made-up traffic, seen in tmux, whose
# panes are drawn as SVG. Wants tmux, curl and python3, and the program as its argument or in target/debug.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/api-log}")
work=$(mktemp -d)
mux() { LC_ALL=C.UTF-8 tmux -S "$work/tmux" "$@"; }
started=()
finish() {
    mux kill-server 2>/dev/null || true
    ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# Until the command succeeds; two minutes at most.
wait_for() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        ((++tries < 600)) || { echo "never came: $*" >&2; exit 1; }
        sleep 0.2
    done
}
seen() { mux capture-pane -p -t "$1" | grep -q -- "$2"; }

"$program" mock --listen 127.0.0.1:0 >"$work/mock" &
started+=($!)
wait_for grep -q http "$work/mock"
upstream=$(sed -n 's/^mock gateway listening on //p' "$work/mock")
APILOG_PROXY_UPSTREAM=$upstream APILOG_PROXY_LISTEN=127.0.0.1:7861 APILOG_API_LISTEN=127.0.0.1:7862 \
    APILOG_STORAGE_DATA_DIR="$work/data" APILOG_VIEWER_ENABLED=false "$program" serve 2>"$work/log" &
started+=($!)
wait_for curl -fsS http://127.0.0.1:7862/readyz

ask() { # model, seconds between events in ms, text
    curl -sSN http://127.0.0.1:7861/v1/chat/completions -H 'Content-Type: application/json' \
        -H 'Authorization: Bearer sk-demo' -H "x-mock-delay-ms: $2" -H 'x-mock-size: 2000' \
        -d "{\"model\":\"$1\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":\"$3\"}]}" >/dev/null
}
for model in gpt-4o-mini gpt-5 gpt-4o error-429 gpt-5-mini gpt-4.1 gpt-4o error-500 gpt-5; do
    ask "$model" 1 'What is a proxy?'
done
api="--url http://127.0.0.1:7862 --token-file $work/data/admin_token"
mux -f /dev/null new-session -d -s tail -x 205 -y 12 "'$program' tail $api; sleep 600"
wait_for seen tail error-500
for model in gpt-5 gpt-4o gpt-4o-mini; do
    ask "$model" 400 'Tell me a story' &
    started+=($!)
done
mux new-session -d -s inflight -x 130 -y 30 "'$program' tail --inflight $api"
wait_for seen inflight 'under way: 3'
wait_for seen inflight running
wait_for seen inflight '[3-9] events'
for name in tail inflight; do
    mux capture-pane -e -p -t "$name" | python3 "$here/svg.py" >"$here/$name.svg"
done
