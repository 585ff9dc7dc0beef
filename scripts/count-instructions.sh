#!/bin/sh
# Instructions of the engine per full call (14 messages, no sockets), counted by callgrind.
#
# Collection is on only inside Engine::handle and Engine::release (through corelane-perf's measured_handle and
# measured_release, which exist for this). Start, warm-up and the clearing up at the end cancel out: N and 2N calls are run,
# and what is printed is the difference divided by N. The release profile is the one of the tests, without target-cpu=native,
# so that two machines count the same.
#
# usage: scripts/count-instructions.sh [N] [limit]
#   N      calls, default 2000
#   limit  largest number of instructions per call that passes; without it the count is only printed
# exit: 0 counted (and within the limit), 1 above the limit, 2 it could not be counted
set -eu

calls=${1:-2000}
limit=${2:-}
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "count-instructions: valgrind is missing; install the package 'valgrind'" >&2; exit 2; }
cargo build --quiet --release --package corelane-perf || exit 2
binary=${CARGO_TARGET_DIR:-target}/release/corelane-perf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs $1 calls under callgrind; prints the instructions collected.
count() {
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured_handle*' --toggle-collect='*measured_release*' \
        --callgrind-out-file="$work/out.$1" "$binary" engine --calls "$1" --warm-up 100 >"$work/log.$1" 2>&1 ||
        { cat "$work/log.$1" >&2; exit 2; }
    sed -n 's/^\(summary\|totals\): *\([0-9][0-9]*\).*/\2/p' "$work/out.$1" | head -n 1
}

once=$(count "$calls")
twice=$(count $((calls * 2)))
[ "${once:-0}" -gt 0 ] || { echo "count-instructions: callgrind collected nothing; were the marker functions renamed?" >&2; exit 2; }
per_call=$(((twice - once) / calls))
echo "instructions per call: $per_call ($twice for $((calls * 2)) calls, $once for $calls)"
echo "dearest parts of the engine by source file, what they call included:"
callgrind_annotate --inclusive=yes "$work/out.$((calls * 2))" 2>/dev/null |
    sed -n -e '/\/library\//d' -e 's/^ *[0-9,]* *( *\([0-9.]*\)%) .*core\/src\/\([^:]*\):\(.*\)$/\1 \2 \3/p' |
    awk '{ share = $1; file = $2; $1 = $2 = ""; sub(/ *\[[^]]*\] *$/, ""); n = split($0, path, "::"); name = path[n] }
        count++ < 15 { printf "  %5.1f %%  %-28s %s\n", share, file, name }'
if [ -n "$limit" ] && [ "$per_call" -gt "$limit" ]; then
    echo "count-instructions: $per_call is above the limit of $limit" >&2
    exit 1
fi
