#!/bin/sh
# Builds the fuzz targets and runs them: `scripts/fuzz.sh smoke` or `scripts/fuzz.sh long SECONDS [TARGET …]`.
#
#   smoke   every target over its corpus in git and a few thousand inputs more, the same ones each time: by count, not by the clock
#   long    each target for so many seconds; what it finds stays in target/fuzz/corpus, what breaks in target/fuzz/broken
#   keep    after a long run: the smallest inputs that reach what all of the found ones reach go into fuzz/corpus
#   seeds   writes again the part of the corpus that is made and not found
#
# libFuzzer's own library is compiled with the C++ compiler that is there; the coverage counters come from rustc's LLVM, so that stable
# Rust is enough. FUZZ_TARGET_DIR is where cargo builds [target/fuzz].
set -eu
cd "$(dirname "$0")/.."

out=${FUZZ_TARGET_DIR:-$PWD/${CARGO_TARGET_DIR:-target}/fuzz}
case ${CARGO_TARGET_DIR:-} in /*) out=${FUZZ_TARGET_DIR:-$CARGO_TARGET_DIR/fuzz} ;; esac
# Naming the host as a target keeps the flags away from build scripts and procedural macros.
host=$(rustc --print host-tuple)
targets='parse round_trip engine image reply'

# Both read datagrams.
corpus() {
    case $1 in parse | round_trip) echo message ;; *) echo "$1" ;; esac
}

# Longest input: just above a datagram; a script of a hundred steps, long from the start; a small image; a long reply.
lengths() {
    case $1 in
        parse | round_trip) echo -max_len=8300 ;;
        engine) echo -max_len=400 -len_control=0 ;;
        image) echo -max_len=16384 ;;
        reply) echo -max_len=4096 ;;
    esac
}

# Inputs of a smoke run, some seconds of each.
count() {
    case $1 in parse) echo 60000 ;; round_trip) echo 15000 ;; engine) echo 6000 ;; image) echo 4000 ;; reply) echo 200000 ;; esac
}

build() {
    # Counters in every edge, a table of their places, and the operands of comparisons, so that libFuzzer guesses tokens.
    RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing' \
        cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out" \
        --bin parse --bin round_trip --bin engine --bin image --bin reply
}

# run TARGET FLAG … [DIRECTORY …]; the log is shown only where something broke.
run() {
    target=$1
    shift
    log=$out/$target.log
    mkdir -p "$out/broken"
    # shellcheck disable=SC2046 # lengths are several words
    if ! RUST_BACKTRACE=1 "$out/$host/release/$target" -artifact_prefix="$out/broken/$target-" -timeout=10 -rss_limit_mb=2048 \
        $(lengths "$target") -print_final_stats=1 "$@" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "fuzz: $target broke; the input is in $out/broken, and this runs it again:" >&2
        echo "    FUZZ_LADDER=1 $out/$host/release/$target FILE" >&2
        exit 1
    fi
    awk -v target="$target" '
        /#[0-9]+[ \t]+DONE/ { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        /stat::number_of_executed_units/ { runs = $2 }
        /stat::average_exec_per_sec/ { speed = $2 }
        END { printf "fuzz: %-10s %9d inputs, %5d a second, %5d places reached, nothing broke\n", target, runs, speed, cov }' "$log"
}

case ${1:-} in
    smoke)
        build
        for target in $targets; do
            # Into an empty folder of its own: what was found yesterday does not change what is tried today.
            rm -rf "$out/smoke" && mkdir -p "$out/smoke"
            run "$target" -seed=1 -runs="$(count "$target")" "$out/smoke" "fuzz/corpus/$(corpus "$target")"
        done
        ;;
    long)
        seconds=${2:-60}
        shift 2 || shift $#
        build
        for target in ${*:-$targets}; do
            mkdir -p "$out/corpus/$target"
            run "$target" -max_total_time="$seconds" "$out/corpus/$target" "fuzz/corpus/$(corpus "$target")"
        done
        ;;
    keep)
        shift
        build
        for target in ${*:-$targets}; do
            run "$target" -set_cover_merge=1 "fuzz/corpus/$(corpus "$target")" "$out/corpus/$target"
        done
        ;;
    seeds)
        cargo run --quiet --locked --release --manifest-path fuzz/Cargo.toml --target-dir "$out" --no-default-features --bin seeds
        ;;
    *)
        sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
