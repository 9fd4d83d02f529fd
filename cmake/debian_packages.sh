# SPDX-License-Identifier: MIT
# Sourced by the run scripts: `debian_packages NAME...` installs what is missing. Where everything
# is there, or there is no apt-get, it changes nothing and asks for no rights.
debian_packages() {
    command -v apt-get >/dev/null 2>&1 || return 0
    missing=
    for package in "$@"; do
        dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "missing packages; as root say: apt-get install$missing" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "-- installing:$missing"
    log=$(mktemp)
    # The lists of packages may be missing or too old: then they are fetched and it is tried again.
    # shellcheck disable=SC2086
    for try in 1 2; do
        if $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing >"$log" 2>&1; then
            rm -f "$log"
            return 0
        fi
        [ $try = 2 ] || $as_root apt-get update >>"$log" 2>&1 || break
    done
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
}
