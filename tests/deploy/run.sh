#!/usr/bin/env bash
# Checks what deploy/ ships, as far as this machine can: tests/deploy/run.sh [check ...]
#
# Each check says ok, skip or FAIL, and why; the last line is their sum. What a check needs is installed by the step
# `deploy` of .ci/run; what is not there is skipped, with the reason. APILOG_BINARY is the program that is run; without
# it, the development build.
set -uo pipefail
cd "$(dirname "$0")" || exit
root=$(cd ../.. && pwd)

if [[ -z ${APILOG_BINARY:-} ]]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml" || exit 1
    export APILOG_BINARY=$root/target/debug/api-log
fi
python=$(./python.sh) || exit 1

output=$(mktemp)
trap 'rm -f "$output"' EXIT
passed=0 failed=0 skipped=0
wanted=" $* "

# check NAME COMMAND...: 0 is ok and 77 a skip; the last line that it says is the reason or the result.
check() {
    local name=$1 code
    shift
    [[ $wanted == "  " || $wanted == *" $name "* ]] || return 0
    "$@" >"$output" 2>&1
    code=$?
    case $code in
        0) passed=$((passed + 1)) && printf 'ok    %-12s %s\n' "$name" "$(tail -n 1 "$output")" ;;
        77) skipped=$((skipped + 1)) && printf 'skip  %-12s %s\n' "$name" "$(tail -n 1 "$output")" ;;
        *)
            failed=$((failed + 1))
            printf 'FAIL  %-12s exit code %s\n' "$name" "$code"
            sed 's/^/      /' "$output"
            ;;
    esac
}

needs() {
    command -v "$1" >/dev/null || { echo "$1 is not installed"; exit 77; }
}

# systemd's own opinion of the unit. The command that it starts is put where this machine has one; all else stands as it is.
unit() (
    needs systemd-analyze
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    sed "s#^ExecStart=/usr/bin/api-log #ExecStart=$APILOG_BINARY #" "$root/deploy/systemd/api-log.service" >"$folder/api-log.service"
    grep -q "^ExecStart=$APILOG_BINARY --config /etc/api-log/api-log.yaml$" "$folder/api-log.service" || exit 1
    # It warns and ends well of words that it does not know: whatever it says of this unit is a failure.
    systemd-analyze verify --man=no "$folder/api-log.service" 2>"$folder/said" || { cat "$folder/said"; exit 1; }
    if grep 'api-log' "$folder/said"; then exit 1; fi
    echo 'systemd-analyze verify has nothing to say'
)

# How much the unit may do: 0 is nothing, 10 anything; in tenths.
hardening() (
    needs systemd-analyze
    systemd-analyze security --offline=true --threshold=20 "$root/deploy/systemd/api-log.service" | tail -n 1
)

users() (
    needs systemd-sysusers
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    mkdir "$folder/etc"
    systemd-sysusers --root="$folder" "$root/deploy/systemd/sysusers.conf" || exit 1
    grep '^api-log:.*:/var/lib/api-log:/usr/sbin/nologin$' "$folder/etc/passwd" || exit 1
    systemd-tmpfiles --root="$folder" --create "$root/deploy/systemd/tmpfiles.conf" || exit 1
    [[ $(stat -c %a "$folder/var/lib/api-log") == 700 ]] || exit 1
    echo 'sysusers and tmpfiles make the user and its data dir'
)

alerts() (
    needs promtool
    promtool check config "$root/deploy/prometheus/prometheus.yaml" &&
        promtool check rules "$root/deploy/prometheus/alerts.yaml" &&
        promtool test rules alerts.test.yaml || exit 1
    echo 'promtool: configuration and rules are right, and each alert fires when it should'
)

scripts() (
    for file in "$root"/deploy/debian/{postinst,prerm,postrm,generate.sh} python.sh deb.sh ../integration/run.sh; do
        [[ -x $file ]] || { echo "$file cannot be run"; exit 1; }
        sh -n "$file" || exit 1
    done
    if command -v shellcheck >/dev/null; then
        shellcheck "$root"/deploy/debian/{postinst,prerm,postrm,generate.sh} ./*.sh ../integration/run.sh || exit 1
    fi
    echo 'the scripts of the package can be read by sh'
)

# Completions and manual pages of the package are those that the program prints.
generated() (
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    "$root/deploy/debian/generate.sh" "$APILOG_BINARY" "$folder" || exit 1
    diff -r "$root/deploy/debian/generated" "$folder" || { echo 'deploy/debian/generate.sh writes them anew'; exit 1; }
    echo "completions of 3 shells and $(find "$folder/man" -name '*.1' | wc -l) manual pages are those of the program"
)

check compose "$python" samples.py compose
check engine "$python" samples.py engine
check kubernetes "$python" samples.py kubernetes
check config "$python" samples.py package
check scripts scripts
check generated generated
check build "$python" image.py build
check image "$python" image.py run
check dev-stack ../integration/run.sh
check unit unit
check hardening hardening
check syscalls "$python" syscalls.py
check users users
check nginx "$python" tls.py nginx
check caddy "$python" tls.py caddy
check alerts alerts
check prometheus "$python" scraped.py
check deb ./deb.sh

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
