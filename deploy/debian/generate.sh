#!/bin/sh
# Writes the completions and manual pages that the package holds, as the program prints them:
# deploy/debian/generate.sh [PROGRAM [FOLDER]]. To be run when a command or flag has changed; tests/deploy/run.sh compares.
set -eu
program=${1:-target/debug/api-log}
folder=${2:-$(dirname "$0")/generated}
mkdir -p "$folder/man"
rm -f "$folder"/man/*.1
"$program" man --out "$folder/man" >/dev/null
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$folder/api-log.$shell"
done
