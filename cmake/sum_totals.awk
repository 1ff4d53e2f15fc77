# Adds up, key by key, what tests print as "totals: KEY=VALUE ...": one line that begins with the keys
# below, whose values say whether all is well. "failures" are those that were injected. Ends with 1 if
# there was no such line, or if one of the last three is not 0.
BEGIN {
    count = split("operations failures runs drifts crashes hangs", keys)
    for (i = 1; i <= count; i++) {
        sums[keys[i]] = 0
    }
}

match($0, /totals: .*/) {
    fields = split(substr($0, RSTART + 8), field, / +/)
    for (i = 1; i <= fields; i++) {
        if (split(field[i], pair, "=") == 2) {
            if (!(pair[1] in sums)) {
                keys[++count] = pair[1]
            }
            sums[pair[1]] += pair[2]
        }
    }
    lines++
}

END {
    printf "totals:"
    for (i = 1; i <= count; i++) {
        printf " %s=%.0f", keys[i], sums[keys[i]]
    }
    printf "\n"
    exit lines == 0 || sums["drifts"] + sums["crashes"] + sums["hangs"] != 0
}
