#!/usr/bin/env bash
# A first look at throughput: a small chat exchange (1 KB in, 0.5 KB out) over 16 connections, through
# nginx as a plain reverse proxy, through the recorder with capture off, and through the recorder.
# Interleaved rounds, medians, ratios. Needs nginx and wrk. Usage: quick.sh [rounds] [seconds] [connections]
set -eu
rounds=${1:-5} seconds=${2:-5} connections=${3:-16}
here=$(cd "$(dirname "$0")/../.." && pwd)
binary=${API_LOG:-$here/target/release/api-log}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

body=$(printf '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"%0300d"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":60,"total_tokens":260}}' 0)
nginx_conf() { # name port location
    cat > "$work/$1.conf" <<CONF
worker_processes 1;
pid $work/$1.pid;
error_log $work/$1.err;
daemon off;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path $work/$1-body; proxy_temp_path $work/$1-proxy;
    fastcgi_temp_path $work/$1-f; uwsgi_temp_path $work/$1-u; scgi_temp_path $work/$1-s;
    upstream gateway { server 127.0.0.1:18100; keepalive 256; keepalive_requests 100000000; }
    server { listen 127.0.0.1:$2 reuseport; $3 }
}
CONF
}
nginx_conf upstream 18100 "location / { default_type application/json; return 200 '$body'; }"
nginx_conf proxy 18101 "location / { proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; proxy_request_buffering off; }"
cat > "$work/chat.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer bench"
wrk.body = '{"model":"m","messages":[{"role":"user","content":"' .. string.rep("word ", 190) .. '"}]}'
LUA
nginx -c "$work/upstream.conf" & nginx -c "$work/proxy.conf" &
recorder() { # port api-port data capture
    APILOG_PROXY_UPSTREAM=http://127.0.0.1:18100 APILOG_PROXY_LISTEN=127.0.0.1:$1 APILOG_API_LISTEN=127.0.0.1:$2 \
        APILOG_STORAGE_DATA_DIR=$3 APILOG_CAPTURE_ENABLED=$4 APILOG_LOGGING_LEVEL=warn exec "$binary"
}
(recorder 18102 18112 "$work/off" false) & (recorder 18103 18113 "$work/on" true) & on=$!
sleep 1
ticks() { awk '{print $14 + $15}' "/proc/$on/stat"; }
run() { # port -> requests/s
    wrk -t1 -c"$connections" -d"${seconds}s" --latency -s "$work/chat.lua" "http://127.0.0.1:$1/v1/chat/completions" > "$work/wrk.out"
    grep -E 'Non-2xx|Socket errors' "$work/wrk.out" >&2 || true
    awk '/Requests\/sec/ {rate = $2} /50%/ {p50 = $2} /99%/ {p99 = $2} / requests in / {n = $1} END {print rate, p50, p99, n}' "$work/wrk.out"
}
for port in 18101 18102 18103; do seconds=1 run $port > /dev/null; done
sleep 2
for _ in $(seq "$rounds"); do
    for port in 18100 18101 18102 18103; do
        before=$(ticks); result=$(run $port); after=$(ticks)
        echo "$port $result $((after - before))" >> "$work/rounds"
        sleep 1
    done
done
sleep 3
health=$(curl -s http://127.0.0.1:18113/healthz)
python3 - "$work/rounds" "$health" <<'PY'
import json, statistics, sys
names = {"18100": "upstream directly", "18101": "nginx as plain proxy", "18102": "api-log, capture off", "18103": "api-log, recording"}
rows = {}
for line in open(sys.argv[1]):
    port, rate, p50, p99, requests, ticks = line.split()
    rows.setdefault(port, []).append((float(rate), p50, p99, int(requests), int(ticks)))
nginx = statistics.median(r[0] for r in rows["18101"])
off = statistics.median(r[0] for r in rows["18102"])
print("| | requests/s (median) | over nginx | over capture off | p50 | p99 |")
print("|---|---|---|---|---|---|")
for port, found in sorted(rows.items()):
    rate = statistics.median(r[0] for r in found)
    middle = sorted(found)[len(found) // 2]
    print(f"| {names[port]} | {rate:,.0f} | {rate / nginx:.2f} | {rate / off:.2f} | {middle[1]} | {middle[2]} |")
cpu = [r[4] * 10_000 / r[3] for r in rows["18103"]]
print(f"\nCPU per recorded request: {statistics.median(cpu):.1f} µs")
health = json.loads(sys.argv[2])
print("ledger:", json.dumps(health["ledger"]))
print("indexed:", health["counters"]["indexed"], "appended:", health["counters"]["appended"])
PY
