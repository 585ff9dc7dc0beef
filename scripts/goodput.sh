#!/bin/bash
# Goodput of one shard below, at and above its capacity, and what becomes of the calls in progress meanwhile.
#
# A generator on a small machine cannot bring three times what a whole core takes. So Corelane gets a fifth of a core: a control group with a
# quota of 1 ms in 5 ms. Its figures are ratios to its own capacity; 4 ms of standing still in each 5 ms stay below the 5 ms that mean
# overload. Where its capacity is, a search finds, which offers more and more. Then each run offers a fifth more than that, and nine seconds later a
# multiple of it; goodput is what is answered then, in parts of what was answered before: at the knee, by the same process, seconds ago, because a
# shared machine is faster in one minute than in the next, by a tenth and more. Both are taken from the fifth second on, once the calls are over
# that were let in before the overload was known (they last a second). What is told of a multiple is the median of three rounds.
# Forty calls a second of another provider on another listener, set up before, are the calls in progress: half of them end in the midst of the
# overload, half after it, and each must end as if nothing had been.
#
# Last, fairness: the crowd brings ten times its share, half of capacity, while another provider brings half of its own from three seconds
# before to the crowd's end. Not all of its own: what the flood itself costs the shard is not there to be shared.
#
# Exit status 1: a median below 90 %, a call in progress that ended badly, or a provider within its share with less than 99 %.
#
# usage: scripts/goodput.sh [multiple …]      whole numbers from 2 on, each once [2 3]; needs root for the control group
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- 2 3
for multiple in "$@"; do
    [ "$multiple" -ge 2 ] 2>/dev/null || { echo "goodput: \`$multiple\` is no multiple; they are whole numbers from 2 on" >&2; exit 2; }
done
[ -z "$(printf '%s\n' "$@" | sort | uniq -d)" ] || { echo "goodput: a multiple is named twice" >&2; exit 2; }
ROUNDS=3
out=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
broken=0
target=127.0.0.1:26060
aside=127.0.0.6:26060
pid=

group=
for root in /sys/fs/cgroup/cpu /sys/fs/cgroup; do
    [ -e "$root/cgroup.procs" ] && [ -w "$root/cgroup.procs" ] && { group=$root/corelane-goodput.$$; break; }
done
load=$group.load
[ -n "$group" ] && mkdir "$group" "$load" 2>"$work/why" || { echo "goodput: no control group can be made (root? /sys/fs/cgroup mounted?): $(cat "$work/why" 2>&1)" >&2; exit 2; }

finish() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; }
    rmdir "$group" "$load" 2>/dev/null || :
    rm -rf "$work"
}
trap finish EXIT

# Both go before whatever else runs here.
if [ -e "$group/cpu.max" ]; then
    echo "1000 5000" >"$group/cpu.max"
    for each in "$group" "$load"; do echo 10000 >"$each/cpu.weight"; done
elif [ -e "$group/cpu.cfs_quota_us" ]; then
    echo 5000 >"$group/cpu.cfs_period_us"
    echo 1000 >"$group/cpu.cfs_quota_us"
    for each in "$group" "$load"; do echo 200000 >"$each/cpu.shares"; done
else
    echo "goodput: $group has no CPU quota (version 2: add +cpu to the parent's cgroup.subtree_control)" >&2
    exit 2
fi

mkdir "$work/routes"
table() { printf '%b' "$2" >"$work/routes/$1.csv"; }
table listener 'id,name,address,port,transport\n1,goodput,127.0.0.1,26060,udp\n2,aside,127.0.0.6,26060,udp\n'
table provider 'id,name,enabled,routing_group\n1,crowd,true,1\n2,standing,true,2\n'
table provider_address 'provider_id,cidr\n1,127.0.0.2/32\n2,127.0.0.4/32\n'
table gateway 'id,name,host,port,listener_id\n1,callee,127.0.0.3,26070,1\n2,standing,127.0.0.5,26070,2\n3,standing,127.0.0.5,26071,2\n4,callee,127.0.0.3,26071,1\n'
table carrier 'id,name\n1,callee\n2,standing\n3,standing\n4,callee\n'
table carrier_gateway 'carrier_id,gateway_id,priority,weight\n1,1,1,100\n2,2,1,100\n3,3,1,100\n4,4,1,100\n'
table route 'id,routing_group,prefix,carrier_id,priority,weight\n1,1,4930,1,1,100\n4,1,4931,4,1,100\n2,2,4930,2,1,100\n3,2,4931,3,1,100\n'

start() {
    rm -rf "$work/state"
    taskset -c 1 "$out/corelane" run --routes "$work/routes" --state-dir "$work/state" --shards 1 --cpus 1 --control-cpu 1 \
        --calls-max 60000 --cps-max 12000 >"$work/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        grep -q '^ready' "$work/log" && break
        kill -0 "$pid" || { cat "$work/log" >&2; exit 2; }
        sleep 0.1
    done
    echo "$pid" >"$group/cgroup.procs"
}

stop() { kill "$pid"; wait "$pid" || :; pid=; }

# The last value of a counter that Corelane printed.
counter() { sed -n "s/^counter node $1=//p" "$work/log" | tail -n 1; }

# Waits for one more report and prints a counter of it.
sample() {
    seen=$(grep -c '^counter node calls_answered=' "$work/log" || :)
    kill -USR1 "$pid"
    for _ in $(seq 50); do
        [ "$(grep -c '^counter node calls_answered=' "$work/log" || :)" -gt "$seen" ] && break
        sleep 0.02
    done
    counter calls_answered
}

# The same when it has just changed: shards copy their counters out once a second.
fresh() {
    first=$(sample); next=$first
    while [ "$next" = "$first" ]; do
        kill -0 "$pid" 2>/dev/null || { echo "goodput: Corelane has ended" >&2; exit 2; }
        sleep 0.05
        next=$(sample)
    done
    echo "$next"
}

# Offers $1 calls a second of the crowd for $2 seconds, told in $work/$3, to the callee at port $4 of the numbers $5. Sets crowd_pid.
crowd() {
    taskset -c 0 "$out/corelane-perf" load --target $target --uac-bind 127.0.0.2:0 --uas-bind "127.0.0.3:$4" --number-prefix "$5" --cps "$1" \
        --calls $(($1 * $2)) --sources 4 --late-ms 500 --drain-ms 0 >"$work/$3" 2>&1 &
    crowd_pid=$!
    echo $crowd_pid >"$load/cgroup.procs"
}

# Forty calls a second of the other provider for four seconds, half of which last $1 ms and half $2. Sets standing_pids.
stand() {
    standing_pids=
    for each in "0 $1 26070" "1 $2 26071"; do
        set -- $each
        "$out/corelane-perf" load --target $aside --uac-bind 127.0.0.4:0 --uas-bind "127.0.0.5:$3" --number-prefix "493$1" --cps 20 --calls 80 \
            --hold-ms "$2" --drain-ms 0 >"$work/standing.$1" 2>&1 &
        standing_pids="$standing_pids $!"
        echo $! >"$load/cgroup.procs"
    done
    sleep 5
}

# Calls answered a second from the fifth second to the ninth. Sets answered.
measure() {
    # Past what was let in before the overload was known, and before the crowd's last call.
    sleep 4
    before=$(fresh) || exit 2
    at=$(date +%s%N)
    sleep 4
    after=$(fresh) || exit 2
    to=$(date +%s%N)
    answered=$(((after - before) * 1000000000 / (to - at)))
}

# Waits for the processes $@, ends Corelane and sets standing: calls in progress that ended well, of how many.
finish_run() {
    for each in "$@"; do wait "$each" || :; done
    stop
    standing=$(cat "$work"/standing.* | sed -n 's/^calls .*started \([0-9]*\).* ok \([0-9]*\).*/\2 \1/p' | awk '{ ok += $1; all += $2 } END { print ok " of " all }')
}

# What the generators of the crowd told: their latest start of a call in µs; Corelane's counters; $1 what run it was, $2 what was offered.
tell() {
    late=$(cat "$work"/crowd* | sed -n 's/.*latest start \([0-9.]*\) .*/\1/p' | sort -n | tail -n 1)
    dropped=$(cat "$work"/crowd* | sed -n 's/^FAULT *\([0-9]*\) datagrams were dropped at the sockets.*/\1/p' | sort -n | tail -n 1)
    kernel=$(counter shed_in_kernel)
    # The kernel counts what the filter drops with what found a full socket.
    printf '%9s %9s %8s %8s %10s %12s %14s %17s\n' "$1" "$2" "$answered" "$(counter shed)" "$kernel" $((${dropped:-0} - kernel)) "$standing" "$late"
}

# One run at $1 calls a second.
offer() {
    start
    stand 7000 18000
    crowd "$1" 11 crowd 26070 4930
    measure
    finish_run $crowd_pid $standing_pids
    tell search "$1"
}

# One run at a little more than capacity, and after nine seconds at $1 times the capacity: sets goodput, per cent of what was carried before.
overload() {
    start
    stand 17000 30000
    base=$((capacity * 6 / 5))
    crowd $base 23 crowd 26070 4930
    pids=$crowd_pid
    measure
    full=$answered
    crowd $((capacity * $1 - base)) 12 crowd.more 26071 4931
    measure
    finish_run $pids $crowd_pid $standing_pids
    goodput=$((answered * 100 / full))
    tell "$1 x" $((capacity * $1))
    rm "$work/crowd.more"
}

# $1 calls a second of the other provider for $2 seconds, called $3.
modest() {
    "$out/corelane-perf" load --target $aside --uac-bind 127.0.0.4:0 --uas-bind "127.0.0.5:$4" --number-prefix "$5" --cps "$1" --calls $(($1 * $2)) --sources 4 \
        --drain-ms 0 >"$work/$3" 2>&1 &
    echo $! >"$load/cgroup.procs"
    modest_pids="$modest_pids $!"
}

# The crowd at $1 calls a second, the other provider at $2: prints what became of the calls of each.
contend() {
    start
    modest_pids=
    modest "$2" 8 first 26070 4930
    sleep 3
    crowd "$1" 11 crowd 26070 4930
    sleep 5
    modest "$2" 5 then 26071 4931
    for each in $crowd_pid $modest_pids; do wait "$each" || :; done
    stop
    for each in first then crowd; do
        sed -n 's/^calls .*started \([0-9]*\).* ok \([0-9]*\).*/\1 \2/p' "$work/$each" | awk -v who=$each -v offered=$([ $each = crowd ] && echo "$1" || echo "$2") \
            'BEGIN { name["first"] = "within its share, to the fifth second"; name["then"] = "within its share, from then on"; name["crowd"] = "ten times its share" }
             { printf "fairness: %s, %d calls/s: %d of %d calls carried, %.2f %%\n", name[who], offered, $2, $1, 100 * $2 / $1
               exit who == "then" && $2 * 100 < $1 * 99 }' || broken=1
    done
    sed -n 's/^/    /; /FAULT.*calls:/p' "$work/first" "$work/then"
}

printf '%9s %9s %8s %8s %10s %12s %14s %17s\n' run offered answered shed 'in kernel' 'socket drops' 'in progress ok' 'generator late µs'
capacity=0
for rate in 3000 4000 5000 6000 7000; do
    offer $rate
    [ "$answered" -le "$capacity" ] || capacity=$answered
    # Past the knee more is shed and no more is answered.
    [ "$answered" -lt $((rate * 9 / 10)) ] && break
done
echo "capacity about $capacity calls/s of a fifth of a core"
for round in $(seq $ROUNDS); do
    for multiple in "$@"; do
        overload "$multiple"
        echo "round $round: $answered calls/s at $multiple x capacity, $full at the knee before: $goodput %"
        echo "$goodput" >>"$work/goodput.$multiple"
        [ "$standing" = "160 of 160" ] || broken=1
    done
done
for multiple in "$@"; do
    median=$(sort -n "$work/goodput.$multiple" | sed -n "$(((ROUNDS + 1) / 2))p")
    echo "goodput at $multiple x capacity: $median % ($(tr '\n' ' ' <"$work/goodput.$multiple" | sed 's/ $//; s/ /, /g'))"
    [ "$median" -ge 90 ] || broken=1
done
contend $((capacity * 5)) $((capacity / 4))
[ $broken = 0 ] || echo "goodput: not as promised" >&2
exit $broken
