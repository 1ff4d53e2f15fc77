#!/usr/bin/env bash
# Formatting, static analysis and the rules of the house that a script can check.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0

# check TITLE COMMAND...: the command prints what is wrong, and nothing if all is well.
check() {
    local title=$1 output
    shift
    output=$("$@" 2>&1)
    if [[ -z $output ]]; then
        echo "ok      $title"
    else
        printf 'FAILED  %s\n%s\n' "$title" "$output"
        failed=1
    fi
}

sources() { find "$@" -name '*.[ch]'; }

formatted() {
    local file
    sources src include tests | while read -r file; do
        clang-format-14 "$file" | cmp -s - "$file" || echo "clang-format-14 -i $file"
    done
}

# funcArgOrderDifferent: cppcheck takes the name of a function type for that of a parameter.
analysed() {
    cppcheck --quiet --std=c11 --platform=win64 --enable=warning,performance,portability \
        --inline-suppr --suppress=funcArgOrderDifferent -I src src
}

# found FOLDER PATTERN: the lines below FOLDER that match.
found() { grep -rnE --include='*.[ch]' "$2" "$1"; }

windows_below_core() { found src/core '#include *[<"](windows|win[a-z]*|obj[a-z]*|unknwn)\.h'; }

# The calls themselves, not methods of that name (IHostMemoryManager_VirtualAlloc, ->VirtualAlloc).
memory_calls_outside_os() {
    local calls='(VirtualAlloc|VirtualFree|VirtualProtect|VirtualQuery|VirtualAllocExNuma|HeapAlloc|HeapFree)'
    # hostmem-replay makes the raw calls to compare with; the rings of a trace must not pass through
    # the manager that is recorded. Neither is part of hostmem.dll.
    found src "(^|[^_A-Za-z.>])$calls\(" | grep -vE '^src/(os/|replay/|trace/trace_writer\.c:)'
}

# Arrows point down only: each folder names what it may not include.
upward_includes() {
    found src/os '#include "(core|com|clr|run)/'
    found src/core '#include ("(com|clr|run)/|<hostmem/)'
    found src/com '#include "(clr|run)/'
    # The binding knows managers by their interface only. Sections are its own: their table knows
    # nothing of regions, and is portable to be tested as the core is. Structures that grow are read
    # by one function everywhere.
    found src/clr '#include "(core|com|run)/' | grep -vE '#include "core/(pages/sections|versioned)\.h"'
    found src/trace '#include ("(os|core|com|clr|run|replay)/|<hostmem/)' | grep -v '<hostmem/hostmem.h>'
    found src/replay '#include ("(os|core|com|clr|run)/|<hostmem/)' | grep -v '<hostmem/hostmem.h>'
    found src/agent '#include "(os|core|com|replay)/'
    found src '#include "agent/' | grep -v '^src/agent/'
    found src/run '#include ("(os|core|com|clr|replay)/|<hostmem/)' | grep -v '<hostmem/hostmem.h>'
}

long_files() { sources src | xargs wc -l | awk '$1 > 600 && $2 != "total"'; }

check "formatting" formatted
check "cppcheck" analysed
check "no windows.h below src/core" windows_below_core
check "memory calls only in src/os" memory_calls_outside_os
check "no upward include" upward_includes
check "no source over 600 lines" long_files
exit "$failed"
