#!/usr/bin/env bash
# Runs all fuzz targets, two at a time, and prints what they did. New inputs are kept in the build
# folder, the corpus in the tree stays as it is. Ends with 1 if anything was found.
#
# run.sh BUILD_FOLDER SECONDS
set -uo pipefail
build=$(realpath "$1") || exit 2
seconds=$2
cd "$(dirname "$(readlink -f "$0")")" || exit 2
shopt -s nullglob
targets=(virtual_memory tables options files import_table trace)
each=$((seconds * 2 / ${#targets[@]}))
[[ $each -gt 0 ]] || each=1

# Without the limit on memory libFuzzer has no second thread, which would make every munmap slow.
fuzz() {
    local target=$1 work=$build/fuzz/$1 dictionary=()
    [[ ! -e $target.dict ]] || dictionary=(-dict="$target.dict")
    rm -rf "$work"
    mkdir -p "$work/found" "$work/corpus"
    "$build/bin/fuzz_$target" -max_total_time="$each" -rss_limit_mb=0 -detect_leaks=0 -timeout=20 \
        -max_len=4096 -print_final_stats=1 -artifact_prefix="$work/found/" "${dictionary[@]}" \
        "$work/corpus" "corpus/$target" >"$work/log" 2>&1
}

# statistic TARGET NAME
statistic() {
    sed -n "s/^stat::$2: *//p" "$build/fuzz/$1/log"
}

printf '%s\n' "${targets[@]}" | (
    export -f fuzz
    export build each
    xargs -P 2 -I{} bash -c 'fuzz {}'
)

status=0 total=0
printf '%-16s %14s %14s %10s %10s\n' target executions 'per second' coverage findings
for target in "${targets[@]}"; do
    executions=$(statistic "$target" number_of_executed_units)
    coverage=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$build/fuzz/$target/log" | tail -n 1)
    findings=$(find "$build/fuzz/$target/found" -type f | wc -l)
    printf '%-16s %14s %14s %10s %10s\n' "$target" "${executions:-none}" \
        "$(statistic "$target" average_exec_per_sec)" "$coverage" "$findings"
    total=$((total + ${executions:-0}))
    if [[ $findings -gt 0 || -z $executions ]]; then
        status=1
        for file in "$build/fuzz/$target/found"/*; do
            echo "    $build/bin/fuzz_$target $file"
        done
        grep -m 3 -E 'ERROR|runtime error|: operation|fuzz_.*\.c:[0-9]+: ' "$build/fuzz/$target/log"
    fi
done
echo "totals: executions=$total seconds=$seconds findings=$status"
exit "$status"
