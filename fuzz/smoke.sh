#!/bin/sh
# Runs every fuzz target for some seconds, from its seeds: fuzz/smoke.sh [seconds] [target ...]
#
# Needs a stable toolchain and a C++ compiler (libFuzzer is built from source), nothing else: the coverage
# that libFuzzer steers by is asked for with the compiler's own options. With a nightly toolchain,
# `cargo fuzz run TARGET` works in this folder too, and adds the address sanitizer.
set -eu
cd "$(dirname "$0")"

seconds=${1:-20}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- sse decode websocket line table rewrite

# The program's own versions of everything; only the fuzzer is added.
cp ../Cargo.lock Cargo.lock

# A named target keeps the options away from build scripts and macros, which have no fuzzer to report to.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS

bins=
for target in "$@"; do bins="$bins --bin $target"; done
# shellcheck disable=SC2086 # one word per option
cargo build --release --target "$host" $bins

for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target, $seconds s"
    # What is found new goes to corpus/; an input that fails goes to artifacts/ and ends the script.
    "target/$host/release/$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -print_funcs=0 -verbosity=0 -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target"
done
