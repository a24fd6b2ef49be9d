#!/usr/bin/env bash
# Programs of the system that the tests use and never do without: they run programs in bubblewrap,
# look at pages in Chromium, start PostgreSQL, and train with DeepSpeed, which compiles. What is
# missing is installed where that is allowed, or named with the command for it.
set -euo pipefail

missing=()
need() { # PACKAGE PROGRAM; a program off the PATH is named by its path, as a pattern
    command -v "$2" >/dev/null || compgen -G "$2" >/dev/null || missing+=("$1")
}
look() {
    missing=()
    need bubblewrap bwrap
    need chromium chromium
    need postgresql '/usr/lib/postgresql/*/bin/initdb'
    need g++ g++
    need ninja-build ninja
}

look
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing what the tests need: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    look
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "error: the tests need ${missing[*]}. On Debian and Ubuntu:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
