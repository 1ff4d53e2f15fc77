#!/usr/bin/env bash
# report.sh SOURCES OBJECTS FOLDER LINES BRANCHES GCOV: how much of src/FOLDER has run, as counted by
# the data of GCOV below OBJECTS, which is deleted. Prints, also into OBJECTS/coverage.txt, each line
# that has not and each with a branch never taken; fails below so many percent of lines and branches.
#
# Not counted: the branches of an assert. What is left in the list is of three kinds. Where another
# thread comes in between without a lock (a retried exchange, "another thread was faster") the programs
# of tests/stress can go, and do not in every run, which is why they are not counted; the model in
# tests/model walks through the lookup's. What happens between a look-up and a lock is counted:
# test_region_races. The end of the address space, where an address wraps to 0, is never in a 64-bit map,
# and the nodes of a map for all of it are more than a test has memory for. And where two conditions
# stand for one, release builds or a table that others wrote into would see the difference.
set -euo pipefail
sources=$1 objects=$2 folder=$3 lines=$4 branches=$5 gcov=$6

read_data() {
    gcovr --gcov-executable "$gcov" --root "$sources" --filter "$sources/src/$folder/" \
        --exclude-branches-by-pattern '\s*assert\(.*' "$@" "$objects"
}

read_data --xml-pretty --output "$objects/coverage.xml"
uncovered() {
    awk -v sources="$sources" -F'"' '
    function value(name,    i) {
        for (i = 1; i < NF; i += 2) if ($i ~ " " name "=$") return $(i + 1)
    }
    function text_of(line) {
        while (at < line && (getline text < (sources "/" file)) > 0) at++
        return text
    }
    /<class / { file = value("filename"); at = 0 }
    /<line / && value("hits") == 0 {
        print file ":" value("number") ": never run:" text_of(value("number"))
    }
    /<line / && value("hits") > 0 && value("condition-coverage") ~ /^[0-9.]+%/ &&
    value("condition-coverage") !~ /^100/ {
        print file ":" value("number") ": branches taken " value("condition-coverage") ":" \
            text_of(value("number"))
    }' "$objects/coverage.xml"
}
{
    uncovered
    read_data --delete --print-summary --fail-under-line "$lines" --fail-under-branch "$branches" \
        --output "$objects/lines.txt"
} | tee "$objects/coverage.txt"
