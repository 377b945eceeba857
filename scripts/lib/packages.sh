# Sourced by the scripts that need more than Rust.

# need_programs PROGRAM=PACKAGE…: installs the packages of the programs that are missing, and says so.
need_programs() {
    local pair missing=()
    for pair in "$@"; do
        # Only files count: what the shell has built in, tests cannot start.
        PATH=$PATH:/usr/sbin:/sbin type -P "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# need_compiler: what Rust links programs with and the cryptography is built with. Debian's gcc comes without the C
# library's files and cmake without make, so both are tried out.
need_compiler() {
    local missing=()
    links_a_program || missing+=(gcc libc6-dev)
    type -P make >/dev/null || missing+=(make)
    type -P cmake >/dev/null || missing+=(cmake)
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# links_a_program: whether there is a C compiler that makes a program of an empty main.
links_a_program() {
    local program works=1
    type -P cc >/dev/null || return 1
    program=$(mktemp)
    cc -x c -o "$program" - <<<'int main(void) { return 0; }' 2>/dev/null || works=0
    rm -f "$program"
    ((works))
}

# install_packages PACKAGE…: installs them and says so.
install_packages() {
    if [[ $(id -u) != 0 ]] || ! type -P apt-get >/dev/null; then
        echo "$(basename "$0"): these Debian packages are missing: install them first, or run this with sudo: $*" >&2
        exit 1
    fi
    echo "Installing what is missing: $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}
