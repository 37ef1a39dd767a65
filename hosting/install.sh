#!/usr/bin/env bash
# Installs what serves into a fresh environment, without Spark: ./hosting/install.sh DIR [options of pip install]
# Left out is pip itself, for the folder is made anew rather than changed, and what packages bring along for their own
# tests, for compilers and for notebooks.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=setup.sh
. "$ROOT/setup.sh"
folder=${1:?the environment that is to be made, e.g. .venv-page}
if [ -e "$folder" ]; then fail "$folder is there already; remove it, or name another"; fi
base=$(find_python) || fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3 $0"
"$base" -m venv "$folder" || fail "cannot make $folder; on Debian and Ubuntu: apt install python3-venv"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$ROOT/requirements-serving.txt" "${@:2}"
"$folder/bin/python" -m pip -qq uninstall --yes pip setuptools
find "$folder" -depth -type d \( -name tests -o -path '*/pyarrow/include' -o -path '*/share/jupyter' -o -path '*/nbextension/static' \) -exec rm -r {} +
