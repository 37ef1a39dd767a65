#!/usr/bin/env bash
# Sets up what is missing, then lints and tests. Options go to pytest: ./run-tests.sh -k neighbours
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT"
# shellcheck source=setup.sh
. ./setup.sh
setup_python requirements.txt requirements-dev.txt
setup_java
setup_browser
export PYSPARK_PYTHON="$PYTHON" PYSPARK_DRIVER_PYTHON="$PYTHON" SPARK_LOCAL_IP=127.0.0.1
./checks.sh
# Three at a time, a file at a time: most of them wait for a single thread of Java, or for a browser. A run of all tests
# prints how many lines of each file they reach.
coverage=(--cov --cov-report=term:skip-covered)
[ $# -eq 0 ] || coverage=()
exec "$PYTHON" -m pytest -n 3 --dist loadfile --no-loadscope-reorder ${coverage[@]+"${coverage[@]}"} "$@"
