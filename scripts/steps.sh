# Run a chain of steps that survives interruptions. Sourced; STEPS names the folder that remembers them.
#
#     step NAME OUTPUT COMMAND...    make OUTPUT (a file or folder, or "" for none) with the command
#
# $STEPS/NAME holds what the step is made from (its command, the files that names, the steps before) and, once it is
# whole, the seconds it took. A whole step is not run again. An interrupted one is, and finds what it had written. One
# that is made from something else now is made anew, and so are those after it.

_chain=""

step() {
    local name=$1 output=$2 record=$STEPS/$1 start=$SECONDS argument
    shift 2
    mkdir -p "$STEPS"
    _chain=$({
        printf '%s\n' "$_chain" "$*"
        for argument in "$@"; do
            if [ -f "$argument" ] && [ "$argument" != "$output" ]; then cat "$argument"; fi
        done
    } | sha256sum | cut -d' ' -f1)
    if [ "$(head -n 1 "$record" 2>/dev/null)" != "$_chain" ]; then
        if [ -n "$output" ]; then rm -rf "$output"; fi
        printf '%s\n' "$_chain" >"$record"
    elif [ "$(wc -l <"$record")" -gt 1 ] && { [ -z "$output" ] || [ -e "$output" ]; }; then
        echo "== $name: made before, in $(tail -n 1 "$record") s"
        return
    fi
    echo "== $name: $*"
    "$@"
    printf '%s\n' "$_chain" $((SECONDS - start)) >"$record.part"
    mv "$record.part" "$record"
}
