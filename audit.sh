#!/usr/bin/env bash
# Does any pinned package have a known vulnerability? Asks PyPI's advisories about every requirements*.txt; ./audit.sh -s osv
# asks OSV instead. Exit code 0: none; 1: some, or no answer about a package. Options go to pip-audit.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT"
# shellcheck source=setup.sh
. ./setup.sh
setup_python requirements.txt
audit=.venv/audit
if [ ! -x "$audit/bin/pip-audit" ] || [ requirements-audit.txt -nt "$audit" ]; then
    say "installing pip-audit into $audit"
    "$PYTHON" -m venv --clear "$audit"
    "$audit/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.txt
fi
found=0
for file in requirements*.txt; do
    say "$file"
    "$audit/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off -r "$file" "$@" || found=1
done
exit "$found"
