#!/bin/sh
# Makes the virtual environment and installs Hilum into it, editable.
# Usage: setup-venv.sh PYTHON VENV EXTRAS
set -eu

wanted=$1
venv=$2
extras=$3

fit() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
for candidate in "$wanted" python3.14 python3.13 python3.12 python3.11; do
    if fit "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Hilum needs Python 3.11 or newer; $wanted is $("$wanted" --version 2>&1 || true)." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.11 run" >&2
    exit 1
fi

# A folder that was moved, or whose Python is gone, is made anew.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv
        else
            echo "$python cannot make virtual environments; install it: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi

echo "Installing Hilum and what it needs (the first time takes a minute or two)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
