#!/usr/bin/env bash
# The checks of ./run-tests.sh, of every commit (.pre-commit-config.yaml) and of CI: style, types, shell scripts, and who may import whom.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports --no-logo
.venv/bin/shellcheck -x .ci/run ./*.sh benchmarks/*.sh findings/*.sh hosting/*.sh
