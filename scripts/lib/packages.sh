# Sourced by the scripts that need more than Rust.

# need_programs PROGRAM=PACKAGE…: installs the packages of the programs that are missing, and says so.
need_programs() {
    local pair missing=()
    for pair in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "$(basename "$0"): install these first: ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing what is missing: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}
