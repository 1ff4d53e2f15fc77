#!/usr/bin/env bash
# The smallest commit limit at which a program still completes, beside what it takes without one: how
# much of a limit the runtime can really use. Found by bisection, three times in a row each; and
# because a collector's needs do not shrink steadily with its limit, every limit of the next 4 MiB
# above is tried once, and one that fails is where the search goes on.
#
# floor.sh HOSTMEM_RUN MANAGED_FOLDER RUNTIME_FOLDER...
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
run=("$here/../../cmake/wine-run" "$1" --report)
managed=$2
shift 2

# completes RUNTIME KIB PROGRAM TIMES
completes() {
    local i
    for ((i = 0; i < $4; i++)); do
        "${run[@]}" none --runtime "$1" --commit-limit "$2K" "$managed/$3.exe" >/dev/null 2>&1
        [[ $? -eq 42 ]] || return 1
    done
}

# The limit in steps of 256 KiB: nothing completes in 1 MiB.
floor() {
    local runtime=$1 program=$2 low=4 high=512 middle above
    while ((high - low > 1)); do
        middle=$(((low + high) / 2))
        if completes "$runtime" $((256 * middle)) "$program" 3; then
            high=$middle
        else
            low=$middle
        fi
    done
    for ((above = high + 1; above <= high + 16; above++)); do
        if ! completes "$runtime" $((256 * above)) "$program" 1; then
            high=$((above + 1))
        fi
    done
    echo $((256 * high))
}

peak() {
    "${run[@]}" json --runtime "$1" "$managed/$2.exe" 2>/dev/null |
        sed -n 's/.*"chargedPeakBytes": \([0-9]*\).*/\1/p'
}

printf '%-12s %-10s %16s %16s\n' runtime program "without limit" "smallest limit"
for runtime in "$@"; do
    for program in churn threads dynamic; do
        printf '%-12s %-10s %12d KiB %12d KiB\n' "$(basename "$runtime")" "$program" \
            $(($(peak "$runtime" "$program") / 1024)) "$(floor "$runtime" "$program")"
    done
done
