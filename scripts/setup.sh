#!/bin/sh
# Installs what a target of the Makefile needs and is not there: `scripts/setup.sh build sipp …`.
#
#   build     a C compiler and make (glommio compiles its ring library) and the Rust toolchain
#   sipp      the real SIP client and server of the demo and the end-to-end tests
#   media     the real media node of the end-to-end tests, in userspace: no kernel module
#   valgrind  counts instructions
#   fuzz      a C++ compiler: libFuzzer is written in it
#
# Quick and silent when all is there. Installs with apt-get on Debian and its kin; says what is missing elsewhere.
set -eu

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

wanted=''
need() { # need PACKAGE when the test that follows fails
    package=$1
    shift
    "$@" || wanted="$wanted $package"
}

for what in "$@"; do
    case $what in
        build)
            need gcc have cc
            need libc6-dev test -e /usr/include/stdlib.h
            need make have make
            if ! have cargo; then
                say 'cargo was not found. Install Rust 1.95 or later with rustup (https://rustup.rs), open a new shell, try again.'
                exit 1
            fi
            ;;
        sipp) need sip-tester have sipp ;;
        media) need rtpengine-daemon have rtpengine ;;
        valgrind) need valgrind have valgrind ;;
        fuzz) need g++ have c++ ;;
        *)
            say "I know nothing called $what"
            exit 2
            ;;
    esac
done
[ -n "$wanted" ] || exit 0

if ! have apt-get; then
    say "missing, and there is no apt-get to install it: the Debian packages$wanted or what your system calls them"
    exit 1
fi
root=''
if [ "$(id -u)" -ne 0 ]; then
    if ! have sudo; then
        say "run this once as root: apt-get install -y --no-install-recommends$wanted"
        exit 1
    fi
    root=sudo
fi

# A package that brings a service must not start it on this machine: 101 is "forbidden by policy" (invoke-rc.d).
policy=/usr/sbin/policy-rc.d
kept=''
restore() {
    if [ -n "$kept" ]; then
        $root mv -f "$kept" "$policy"
    else
        $root rm -f "$policy"
    fi
}
if [ -e "$policy" ]; then
    kept=$policy.before-corelane
    $root mv "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
$root chmod 755 "$policy"

install() {
    # shellcheck disable=SC2086 # a list of words
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted >&2
}
say "installing$wanted"
# Package lists may be absent or too old on a fresh machine: only then they are fetched.
install || {
    $root apt-get update >&2
    install
}
