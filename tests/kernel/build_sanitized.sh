#!/bin/sh
# Build the C half under AddressSanitizer and UndefinedBehaviourSanitizer, and run the kernel tests
# against it. Usage: tests/kernel/build_sanitized.sh PYTHON [pytest arguments]
#
# The parts that read Python's values and wait for children are under both. What runs in a child
# (_child.c, _steps.c, _paths.c, _inside.c) and init itself have no libc to report with, so there undefined
# behaviour is a trap instead: the child dies of SIGILL and its test fails.
set -eu

python=$1
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/anchor-sanitized-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 1' INT TERM

cp -r "$here/anchor_supervisor" "$place/anchor_supervisor"
kernel=$place/anchor_supervisor/kernel
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
compiler=${CC:-gcc}
common="-std=gnu11 -g -O1 -fPIC -fvisibility=hidden -fno-omit-frame-pointer -Wall -Wextra -Werror"
trap_only="-fsanitize=undefined -fsanitize-undefined-trap-on-error"

rm -f "$kernel"/*.so
cd "$kernel"
for part in _child _steps _paths _inside; do
    # shellcheck disable=SC2086 # the flags are words
    $compiler $common $trap_only -fno-tree-loop-distribute-patterns -c "$part.c" -o "$place/$part.o"
done
for part in _spawn _plan _memory _sandbox; do
    # shellcheck disable=SC2086
    $compiler $common -fsanitize=address,undefined -fno-sanitize-recover=all "-I$include" \
        -c "$part.c" -o "$place/$part.o"
done
# shellcheck disable=SC2086
$compiler -shared -fsanitize=address,undefined -Wl,-z,now "$place"/*.o -o "_spawn$suffix"
for module in _calls _wire; do
    # shellcheck disable=SC2086
    $compiler $common -shared -fsanitize=address,undefined -fno-sanitize-recover=all "-I$include" \
        "$module.c" -o "$module$suffix"
done
# shellcheck disable=SC2086
$compiler $common $trap_only -shared -ffreestanding -fno-stack-protector -nostdlib -nostartfiles -s \
    -Wl,-e,anchor_init -Wl,-z,noseparate-code -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 _init.c -o "_init$suffix"

cd "$here"
# Python itself leaks by design, so leaks are the business of the tests that count; a quarantine of
# 256 MiB, the default, would look like a leak to them.
LD_PRELOAD=$($compiler -print-file-name=libasan.so) \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64 UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONMALLOC=malloc PYTHONPATH=$place \
    "$python" -P -m pytest -p no:cacheprovider "${@:-tests/kernel}"
