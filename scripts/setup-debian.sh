#!/bin/sh
# Sees to the programs that come from Debian: installs them as root, names them otherwise.
# Usage: setup-debian.sh run|test|bench
set -eu

missing=

# need PACKAGE CHECK…: notes the package if the check fails
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_library() {
    { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "$1"
}

has_font() {
    [ -n "$(find /usr/share/fonts /usr/local/share/fonts -name "$1" -print -quit 2>/dev/null)" ]
}

# The embedded mongod is linked against it, and slim systems lack it.
if ! command -v mongod >/dev/null 2>&1; then
    need libcurl4 has_library 'libcurl\.so\.4'
fi

case $1 in
run) ;;
bench)
    need dcmtk test -x /usr/bin/storescu
    if [ -z "${ORTHANC_CMD:-}" ]; then
        need orthanc test -x /usr/sbin/Orthanc
        need orthanc-dicomweb test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so
    fi
    ;;
test)
    need dcmtk test -x /usr/bin/storescu
    need orthanc test -x /usr/sbin/Orthanc
    need chromium test -x /usr/bin/chromium
    need npm sh -c 'command -v npm'
    need fonts-dejavu-core has_font 'DejaVuSans.ttf'
    ;;
esac

[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing"
    apt-get update -qq
    # The names are a list.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "Missing:$missing" >&2
    echo "Install with: sudo apt-get install$missing" >&2
    exit 1
fi
