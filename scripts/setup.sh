# Make the checkout's .venv ready. Sourced by scripts/demo.sh and scripts/test.sh:
#
#     . "$(dirname "$0")/setup.sh"
#     setup [EXTRA]        (dev adds what the tests need)
#
# Afterwards ROOT is the checkout and the environment is active. Repeating it costs one check; interrupted at any
# moment, the next run carries on; a damaged environment is built anew. PYTHON=/path/to/python chooses the interpreter.
# Needs bash and coreutils besides Python; pip's own configuration decides where packages come from.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
PACKAGES_MB=7000    # measured: 6675 on disk once installed
DOWNLOADS_MB=3000   # measured: 2250 in the temporary folder while pip is at work

unset PYTHONHOME PYTHONPATH   # another project's packages are none of ours
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

setup() {
    (
        if command -v flock >/dev/null && ! flock -n 9; then   # demo.sh and test.sh may be started together
            echo "Waiting for another set-up of this checkout"
            flock 9
        fi
        _setup "${1:-}"
    ) 9<"$ROOT/setup.py" || exit $?
    # shellcheck source=/dev/null
    . "$VENV/bin/activate"
    cd "$ROOT" || exit
}

_setup() {
    local extra=$1 stamp fresh=""
    stamp=$VENV/.earwitness-${extra:-base}
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(_fingerprint)" ]; then
        if "$VENV/bin/python" -m earwitness.environment; then return; fi
        echo "The environment was ready and is no longer: repairing it"
    fi
    rm -f "$VENV"/.earwitness-*
    if ! _usable; then _create && fresh=1; fi
    _check_disk
    if ! { _install "$extra" && "$VENV/bin/python" -m earwitness.environment; }; then
        if [ -n "$fresh" ]; then exit 1; fi
        echo "Building the environment anew"
        _create
        _install "$extra" && "$VENV/bin/python" -m earwitness.environment || exit 1
    fi
    _fingerprint >"$VENV/.earwitness-base"   # every extra holds the base
    _fingerprint >"$stamp"
}

# Python of a right version, with a pip that works, made in this folder (a moved environment points to its old one).
_usable() {
    _supported "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 &&
        [[ $(head -n 1 "$VENV/bin/pip") == "#!$VENV/bin/"* ]]
}

_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1
}

_create() {
    local python
    python=$(_find_python) || exit 1
    rm -rf "$VENV"
    _check_disk
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv "$VENV" || die "'$python -m venv $VENV' failed, see above"
}

# What the environment was made from: as long as it stays the same, so does the environment.
_fingerprint() {
    { cat "$ROOT/setup.py" "$ROOT/constraints.txt" "$ROOT/plugin/earwitness.pth"
      "$VENV/bin/python" --version 2>&1; } | sha256sum | cut -d' ' -f1
}

_find_python() {
    local names=(python3.11 python3.12 python3 python) name path found=""
    if [ -n "${PYTHON:-}" ]; then names=("$PYTHON"); fi
    for name in "${names[@]}"; do
        path=$(command -v "$name") && _supported "$path" || continue
        found=$path
        if "$path" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$path"
            return
        fi
    done
    if [ -n "$found" ]; then
        die "$found cannot make virtual environments; fix: apt-get install python3-venv, or PYTHON=/path/to/another"
    fi
    die "Python 3.11 or 3.12 is needed, and none is among: ${names[*]}; fix: apt-get install python3.11-venv, or PYTHON=/path/to/python3.11"
}

_check_disk() {
    local temporary=${TMPDIR:-/tmp} packages=$PACKAGES_MB downloads
    if [ -d "$VENV" ]; then packages=$((packages - $(du -s --block-size=1M "$VENV" | cut -f1))); fi
    downloads=$((DOWNLOADS_MB * packages / PACKAGES_MB))   # of what is still to come
    if [ "$(stat -c %d "$ROOT")" = "$(stat -c %d "$temporary")" ]; then
        _need "$ROOT" $((packages + downloads))
    else
        _need "$ROOT" $packages
        _need "$temporary" $downloads
    fi
}

_need() {
    local free
    free=$(df --output=avail --block-size=1M "$1" | tail -n 1)
    if [ "$free" -lt "$2" ]; then
        die "$1 has $free MB free and the packages need $2 MB; fix: free some, or move the checkout (or TMPDIR, for downloads) to another disk"
    fi
}

# pip prints hundreds of lines: keep them in a log, and show the large downloads, the installation and the error.
_install() {
    local log=$VENV/install.log line large='Downloading .*\(([0-9]{3,}(\.[0-9]+)? MB|.*GB)\)'
    _drop_half_installed
    echo "Installing what constraints.txt pins (the first time 2.3 GB to download, some minutes)"
    "$VENV/bin/python" -m pip install -c "$ROOT/constraints.txt" -e "$ROOT${1:+[$1]}" 2>&1 | tee "$log" |
        while IFS= read -r line; do
            if [[ $line =~ $large ]]; then
                echo "  ${BASH_REMATCH[0]}"
            elif [[ $line == "Installing collected packages: "* ]]; then
                echo "  Installing $(tr -cd , <<<"$line," | wc -c) packages"
            fi
        done
    if [ "${PIPESTATUS[0]}" -ne 0 ]; then
        die "pip could not install: $(grep -i '^ *error' "$log" | tail -n 1); all it said is in $log"
    fi
}

# pip writes INSTALLER after a package's files and commands: where a kill came before that, make pip install it again.
_drop_half_installed() {
    local folder
    for folder in "$VENV"/lib/python3*/site-packages/*.dist-info; do
        if [ -d "$folder" ] && [ ! -e "$folder/INSTALLER" ]; then rm -rf "$folder"; fi
    done
}
