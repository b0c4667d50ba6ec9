#!/bin/sh
# Says where the Python with the packages of requirements.txt is; makes it the first time.
set -eu
cd "$(dirname "$0")"

if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv >&2
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt >&2
    cp requirements.txt .venv/installed.txt
fi
echo "$PWD/.venv/bin/python"
