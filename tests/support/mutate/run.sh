#!/usr/bin/env bash
# Do the tests notice a mistake? Each mutant (see mutate.c) of the files is built, in a copy of the
# sources, and the tests are run on it, those named after the file first, until one fails or hangs.
#
# run.sh [--sample=N] [--seed=S] [FILE...]
#
# A mutant that the compiler makes the same code of, in a part for another kind of machine for
# one, is none. Without a FILE, all of src/core. Files of src/core are judged by the unit tests on Linux, files of
# src/com by the contract tests under Wine: slow, so take a sample. Ends with the score, the killed
# of all that compile and are not listed in survivors.txt; fails below 90 %, and when a mutant that
# is listed there was killed or is none. open.txt beside it is for the reader: what a test could still
# be written for.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../../.."

renice -n 15 $$ >/dev/null
export HOSTMEM_OPERATIONS=20000 # random ones, of each test: a mistake that they find is found soon
root=$PWD
work=$root/build/mutation
tree=$work/tree
listed=$root/tests/support/mutate/survivors.txt
sample=0 seed=1
while [[ ${1-} == --* ]]; do
    case $1 in
        --sample=*) sample=${1#*=} ;;
        --seed=*) seed=${1#*=} ;;
        *) echo "there is no option $1" >&2 && exit 2 ;;
    esac
    shift
done
[[ $# -gt 0 ]] || set -- src/core/*/*.[ch]

# A copy that has the sources of today, and the build folders of last time.
mkdir -p "$tree"
find . -path ./build -prune -o -path ./.git -prune -o -type f -print0 |
    tar -c --null -T - | tar -x --touch -C "$tree" # newer than what was built from a mutant
cc -O1 -o "$work/mutate" tests/support/mutate/mutate.c

# use KIND: the builds and tests for mutants of core or com.
use() {
    kind=$1 build=$work/$1
    case $kind in
        core)
            limit=40 suite=tests/unit runner=() suffix= library=hostmem_core
            # A shared library: the tests need not be linked again for each mutant. The sanitizers
            # judge as they do in the ordinary run.
            sed -i "s/(hostmem_core STATIC/(hostmem_core SHARED/" "$tree/src/CMakeLists.txt"
            set -- -DCMAKE_C_COMPILER=gcc -DCMAKE_LINK_DEPENDS_NO_SHARED=ON \
                -DCMAKE_C_FLAGS="-O1 -w -fsanitize=address,undefined -fno-sanitize-recover=all"
            ;;
        com)
            limit=60 suite=tests/contract runner=("$root/cmake/wine-run") suffix=.exe library=hostmem
            set -- -DCMAKE_C_FLAGS="-O0 -w" -DHOSTMEM_DEPS="$root/build/deps" \
                -DCMAKE_TOOLCHAIN_FILE="$tree/cmake/toolchain-x86_64-w64-mingw32.cmake"
            ;;
    esac
    mapfile -t tests < <(cd "$root/$suite" && printf '%s\n' test_*.c | sed 's/\.c$//')
    cmake -G Ninja -S "$tree" -B "$build" "$@" >"$work/build.log" 2>&1
    make_tests "${tests[@]}" || { cat "$work/build.log" >&2; exit 2; }
    pass "${tests[@]}" || { echo "$failed fails without any mutant" >&2; exit 2; }
}

make_tests() { ninja -C "$build" "$library" "$@" >"$work/build.log" 2>&1; }

# Runs tests until one fails or takes longer than the limit.
pass() {
    for failed in "$@"; do
        timeout "$limit" "${runner[@]}" "$build/bin/$failed$suffix" >/dev/null 2>&1 </dev/null ||
            return 1
    done
}

# What the compiler makes of a file of src/core, headers included.
code_of() {
    gcc -std=c11 -O2 -w -fkeep-inline-functions -I "$tree/src" -x c -S -o - "$1" | sed '/\.file/d'
}

# The verdict on the file in the tree: killed, survived or invalid.
judge() {
    local own=() other=() test stem=$1
    if [[ $kind == core && $(code_of "$tree/$file" | md5sum) == "$unchanged" ]]; then
        verdict=invalid && return
    fi
    for test in "${tests[@]}"; do
        if [[ $test == "test_$stem" || $test == "test_${stem}_"* ]]; then
            own+=("$test")
        else
            other+=("$test")
        fi
    done
    verdict=killed
    for group in "${own[*]}" "${other[*]}"; do
        [[ -n $group ]] || continue
        # shellcheck disable=SC2086 # names of tests, each a word
        make_tests $group || { verdict=invalid && return; }
        # shellcheck disable=SC2086
        pass $group || return 0
    done
    verdict=survived
}

# Up to `sample` of the lines, in their order; all for 0.
choose() {
    awk -v sample="$sample" -v seed="$seed" '
        { line[NR] = $0; left[NR] = NR }
        END {
            n = sample == 0 || sample > NR ? NR : sample
            for (i = 1; i <= n; i++) {
                seed = (seed * 16807 + 11) % 2147483647
                k = i + seed % (NR - i + 1)
                t = left[i]; left[i] = left[k]; left[k] = t
                chosen[left[i]] = 1
            }
            for (i = 1; i <= NR; i++) if (i in chosen) print line[i]
        }'
}

all=$work/all.txt
for file in "$@"; do
    "$work/mutate" "$file" | awk -v file="$file" '{ print file "\t" $0 }'
done >"$all"
choose <"$all" >"$work/chosen.txt"
[[ $sample -eq 0 ]] || echo "seed $seed, $sample of $(wc -l <"$all") mutants"

kind=none current=none failures=0
declare -A killed=() survived=() equivalent=()
report() {
    [[ $current == none ]] ||
        echo "$current: killed ${killed[$current]-0}, survived ${survived[$current]-0}," \
            "listed ${equivalent[$current]-0}"
}
while IFS=$'\t' read -r file number line key <&3; do
    if [[ $file != "$current" ]]; then
        report
        [[ $current == none ]] || cp "$root/$current" "$tree/$current"
        current=$file
        unchanged=$(code_of "$root/$file" | md5sum)
        case $file in
            src/core/*) [[ $kind == core ]] || use core ;;
            *) [[ $kind == com ]] || use com ;;
        esac
    fi
    name="$file $key"
    "$work/mutate" "$file" "$number" >"$tree/$file"
    judge "$(basename "${file%.*}")" 2>/dev/null # where the shell tells of crashes
    case $verdict in
        survived)
            if grep -qxF -- "$name" "$listed"; then
                equivalent[$file]=$((${equivalent[$file]-0} + 1))
            else
                survived[$file]=$((${survived[$file]-0} + 1))
                echo "survived $file:$line $key"
            fi
            ;;
        killed)
            killed[$file]=$((${killed[$file]-0} + 1))
            if grep -qxF -- "$name" "$listed"; then
                echo "listed, but killed by $failed: $file:$line $key"
                failures=$((failures + 1))
            fi
            ;;
    esac
done 3<"$work/chosen.txt"
report
[[ $current == none ]] || cp "$root/$current" "$tree/$current"

# What is listed must exist, so that the list does not outlive the code.
while IFS= read -r name; do
    file=${name%% *}
    if grep -qF "$file" "$all" && ! awk -F'\t' '{ print $1 " " $4 }' "$all" | grep -xF -- "$name" >/dev/null; then
        echo "listed, but no mutant: $name"
        failures=$((failures + 1))
    fi
done < <(grep -v -e '^#' -e '^$' "$listed")

k=0 s=0 e=0
for file in "$@"; do
    k=$((k + ${killed[$file]-0})) s=$((s + ${survived[$file]-0})) e=$((e + ${equivalent[$file]-0}))
done
[[ $((k + s)) -gt 0 ]] || { echo "no mutant was judged" >&2; exit 2; }
echo "mutation score $((k * 1000 / (k + s) / 10)).$((k * 1000 / (k + s) % 10)) %:" \
    "$k of $((k + s)) killed, $e listed as equivalent"
[[ $((k * 100)) -ge $(((k + s) * 90)) && $failures -eq 0 ]]
