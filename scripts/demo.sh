#!/usr/bin/env bash
# The demo: `scripts/demo.sh CORELANE_BINARY`. Real SIPp callers and gateways around one Corelane on loopback, then a table of
# what was promised and what came out. Exit 1 when anything is not as promised.
#
#   127.0.50.10  partner's callers ──► 127.0.50.1:15060  Corelane ──► 127.0.50.21  berlin    49…
#   127.0.50.99  nobody            ──►                            └─► 127.0.50.22  munich    4989…, 44…
#
# Every wait polls a fact and has a deadline; every process is ended by its pid.
set -euo pipefail
cd "$(dirname "$0")/.."

corelane=${1:?usage: scripts/demo.sh CORELANE_BINARY}
scenarios=tools/tests/e2e/scenarios
port=15060
proxy=127.0.50.1 partner=127.0.50.10 nobody=127.0.50.99 berlin=127.0.50.21 munich=127.0.50.22
# RFC 3261's timers, shortened so that what lingers for 64 × T1 is gone while you watch: 6.4 s instead of 32 s.
t1_ms=100

here=$(mktemp -d)
pids=()
clean_up() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait_for 5 'all ended' all_ended || for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$here"
}
all_ended() { for pid in "${pids[@]}"; do ! kill -0 "$pid" 2>/dev/null || return 1; done; }
trap clean_up EXIT
trap 'exit 130' INT TERM

die() {
    printf '\ndemo: %s\n' "$1" >&2
    [ -z "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# wait_for SECONDS WHAT COMMAND…: polls COMMAND until it succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# Whether ADDRESS has a UDP socket on $port, as the kernel lists it.
bound() {
    local a b c d
    IFS=. read -r a b c d <<<"$1"
    grep -q "$(printf ' %02X%02X%02X%02X:%04X ' "$d" "$c" "$b" "$a" "$port")" /proc/net/udp
}

# scenario NAME [WORD=VALUE…]: a scenario with its parts and words filled in, as tools/tests/e2e/sipp.rs does it; prints where it lies.
scenario() {
    local name=$1 word
    local words=()
    for word in "${@:2}" 'T1=500' 'LINGER=1' 'PROGRESS=180' 'ACKNOWLEDGED=[cseq]' 'PEER=[peer_tag_param]'; do
        words+=(-e "s/{{${word%%=*}}}/${word#*=}/g")
    done
    awk -v parts="$scenarios/parts" '
        /[{][{]>/ {
            sub(/^ *[{][{]>/, ""); sub(/[}][}].*/, "")
            part = $0; sub(/ .*/, "", part)
            count = sub(/^[^ ]+ /, "") ? split($0, words, "; ") : 0
            while ((getline line < (parts "/" part ".xml")) > 0) {
                for (i = 1; i <= count; i++) {
                    at = index(words[i], "=")
                    gsub("[{][{]" substr(words[i], 1, at - 1) "[}][}]", substr(words[i], at + 1), line)
                }
                print line
            }
            close(parts "/" part ".xml")
            next
        }
        { print }' "$scenarios/$name.xml" | sed "${words[@]}" >"$here/$name.xml"
    printf '%s' "$here/$name.xml"
}

# sipp_at NAME ADDRESS ARGUMENT…: a SIPp process in the background.
sipp_at() {
    local name=$1 address=$2
    shift 2
    sipp "$@" -i "$address" -mi "$address" -bind_local -nostdin -timeout 90 -timeout_error \
        -trace_err -error_file "$here/$name.errors" -trace_stat -stf "$here/$name.csv" -fd 1 >"$here/$name.out" 2>&1 &
    pids+=($!)
}

gateway() { # NAME ADDRESS
    sipp_at "$1" "$2" "$2:9" -p "$port" -sf "$answers" -d 50
    wait_for 10 "$1" bound "$2" || die "gateway $1 did not bind $2:$port" "$here/$1.out"
}

callers=()
caller() { # NAME ADDRESS SCENARIO-FILE NUMBER CALLS RATE
    printf 'SEQUENTIAL\n%s\n' "$4" >"$here/$1.numbers"
    sipp_at "$1" "$2" "$proxy:$port" -sf "$3" -inf "$here/$1.numbers" -m "$5" -r "$6" -l 2000 -d 50 -t un -max_socket 2000
    callers+=("$1:$!")
}

# good NAME: calls of a SIPp process that went as its scenario says.
good() {
    awk -F ';' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "SuccessfulCall(C)") at = i } END { print at ? $at + 0 : 0 }' \
        "$here/$1.csv" 2>/dev/null || echo 0
}

# counters: a fresh dump, whole when its last scope has the last name.
counters() {
    : >"$here/dump"
    local from
    from=$(wc -l <"$here/corelane.out")
    kill -USR1 "$corelane_pid" 2>/dev/null || die 'Corelane is gone' "$here/corelane.log"
    wait_for 5 dump dump_is_whole "$from" || die 'Corelane did not print its counters' "$here/corelane.log"
}
dump_is_whole() {
    tail -n "+$(($1 + 1))" "$here/corelane.out" >"$here/dump"
    grep -q '^counter node timers_live=' "$here/dump"
}
value() { # NAME
    sed -n "s/^counter node $1=//p" "$here/dump"
}
slots() {
    echo $(($(value calls_live) + $(value server_transactions_live) + $(value client_transactions_live) + $(value buffers_live) + $(value timers_live)))
}
# Counters are published once a second: two whole dumps that agree, further apart than that, are no older state.
all_slots_empty() {
    counters
    [ "$(slots)" -eq 0 ] || return 1
    cp "$here/dump" "$here/dump.before"
    sleep 1.2
    counters
    cmp -s "$here/dump" "$here/dump.before"
}

# CPU time of all threads so far, in microseconds.
cpu_us() {
    cat /proc/"$corelane_pid"/task/*/schedstat | awk '{ ns += $1 } END { printf "%d", ns / 1000 }'
}

failed=0
row() { # WHAT PROMISED CAME-OUT
    local verdict=ok
    [ "$2" = "$3" ] || verdict='NOT AS PROMISED' failed=1
    printf '  %-52s %9s %9s   %s\n' "$1" "$2" "$3" "$verdict"
}
rule() { printf '  %s\n' '---------------------------------------------------- --------- ---------   ---'; }

printf 'Corelane demo: gateways, Corelane on two shards, then 1,000 calls and some that must fail.\n\n'
answers=$(scenario uas_basic) talks=$(scenario uac_basic)
gateway berlin "$berlin"
gateway munich "$munich"

"$corelane" run --routes scripts/demo/routes --state-dir "$here/state" --shards 2 --calls-max 4000 --cps-max 1000 \
    --t1-ms "$t1_ms" --t2-ms 400 --t4-ms 500 --noack-timeout-ms 10000 >"$here/corelane.out" 2>"$here/corelane.log" &
corelane_pid=$!
pids+=("$corelane_pid")
ready_or_dead() { grep -qx ready "$here/corelane.out" || ! kill -0 "$corelane_pid" 2>/dev/null; }
wait_for 30 ready ready_or_dead || true
grep -qx ready "$here/corelane.out" || die 'Corelane did not get ready' "$here/corelane.log"
sed '/^counter /d; s/^/  | /' "$here/corelane.out"
cpu_before=$(cpu_us)

caller to-berlin "$partner" "$talks" 4930123456 400 80
caller to-munich "$partner" "$talks" 4989123456 300 60
caller to-london "$partner" "$talks" 4420123456 300 60
caller nowhere "$partner" "$(scenario uac_refused CODE=404)" 7712345678 50 10
caller stranger "$nobody" "$(scenario uac_silence WAIT_MS=1000)" 4930123456 20 10
for caller in "${callers[@]}"; do
    # A caller with a failed call ends with an error; the table says how many.
    wait "${caller#*:}" || printf '  %s: see below\n' "${caller%:*}"
done
wait_for 30 'empty slabs' all_slots_empty || true
# Deferred work (timers, frees) is charged to the calls as well.
cpu=$(($(cpu_us) - cpu_before))

for gateway in 0 1; do kill -USR1 "${pids[$gateway]}" 2>/dev/null || true; done
for gateway in 0 1; do wait "${pids[$gateway]}" || true; done
counters

printf '\n  %-52s %9s %9s\n' 'what SIPp saw' promised 'came out'
rule
row 'callers to 49...   answered, talked, hung up' 400 "$(good to-berlin)"
row 'callers to 4989...  (the longer prefix wins)' 300 "$(good to-munich)"
row 'callers to 44...' 300 "$(good to-london)"
row 'gateway berlin: whole calls' 400 "$(good berlin)"
row 'gateway munich: whole calls' 600 "$(good munich)"
row 'callers to 77...   no route: 404' 50 "$(good nowhere)"
row 'callers from an unknown address: silence' 20 "$(good stranger)"
printf '\n  %-52s\n' 'what Corelane counted'
rule
row 'calls answered' 1000 "$(value calls_answered)"
row 'calls refused with 404' 50 "$(value rejected_404)"
row 'requests from an unknown source' 20 "$(value unknown_source)"
row 'calls started, and ended' "$(value calls_started)" "$(value calls_ended)"
row 'messages met on the wrong shard' 0 "$(value datagrams_foreign)"
row 'datagrams lost between shards or refused by the kernel' 0 "$(($(value forward_dropped) + $(value send_failed)))"
row 'slots still in use, all slabs, after the linger' 0 "$(slots)"
printf '\n  datagrams in %s, out %s, handed between shards %s, sent again %s\n' \
    "$(value datagrams_in)" "$(value datagrams_out)" "$(value datagrams_forwarded)" "$(value retransmissions)"
printf '  CPU of Corelane from the first call to the last empty slot: %d ms, %d µs for each of 1,000 calls, the other 70 included\n' $((cpu / 1000)) $((cpu / 1000))

kill -TERM "$corelane_pid"
corelane_ended() { ! kill -0 "$corelane_pid" 2>/dev/null; }
wait_for 10 'the end' corelane_ended || kill -KILL "$corelane_pid"
wait "$corelane_pid" && stopped=0 || stopped=$?
row 'Corelane stops on SIGTERM with exit status' 0 "$stopped"

if [ "$failed" -ne 0 ]; then
    for errors in "$here"/*.errors; do
        [ ! -s "$errors" ] || { printf '\n%s:\n' "$(basename "$errors")"; tail -n 5 "$errors" | cut -c 1-300; }
    done
    die 'not everything came out as promised' "$here/corelane.log"
fi
printf '\n  Everything came out as promised.\n'
