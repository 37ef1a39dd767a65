#!/usr/bin/env bash
# coverage 7.17.5 with PySpark 4.3.0: the lines that Spark's Python workers run count as never run.
#
# Input: one function, given to mapInArrow, and a job that calls it. The job prints the right sum (90).
# Expected: `patch = subprocess, fork, _exit` and `sigterm = true` measure every process, as coverage's manual says of each.
# Seen: three of the function's five lines are "missed". PySpark's daemon starts the workers by fork and ends them with
#   SIGHUP at the end of the session, for which the workers have the default action: they die before coverage saves.
# With spark.python.use.daemon=false each worker is a process of its own that ends by itself, and all five lines count.
# So a coverage figure of a project whose kernels run in workers is too low, by every line that only workers run.
#
# Needs: python3 (3.11), Java 17 or newer, a package index. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyspark==4.3.0 pyarrow==26.0.1 numpy==2.4.6 pandas==2.3.3 coverage==7.17.5

cat >kernel.py <<'EOF'
import pyarrow as pa


def double(batches):
    for batch in batches:
        doubled = [2 * value for value in batch.column(0).to_pylist()]
        yield pa.record_batch([pa.array(doubled, pa.int64())], names=["id"])
EOF
cat >job.py <<'EOF'
import os
import sys

os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1", PYTHONPATH=os.getcwd())
from pyspark.sql import SparkSession

import kernel

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.config("spark.python.use.daemon", sys.argv[1]).getOrCreate()
print(sum(row.id for row in spark.range(10).mapInArrow(kernel.double, "id long").collect()))
spark.stop()
EOF
cat >coveragerc <<'EOF'
[run]
source = .
omit = venv/*
parallel = true
sigterm = true
patch = subprocess, fork, _exit
EOF

missed() { # how many lines of kernel.py count as never run; $1: spark.python.use.daemon
    rm -f .coverage*
    [ "$(venv/bin/coverage run --rcfile=coveragerc job.py "$1" 2>log)" = 90 ] || { cat log >&2; exit 1; }
    venv/bin/coverage combine --quiet --rcfile=coveragerc
    venv/bin/coverage json --quiet --rcfile=coveragerc -o report.json
    venv/bin/python -c 'import json; print(json.load(open("report.json"))["files"]["kernel.py"]["summary"]["missing_lines"])'
}

with_daemon=$(missed true)
without_daemon=$(missed false)
echo "lines of kernel.py that count as missed, of 5: $with_daemon with PySpark's daemon, $without_daemon without"
[ "$with_daemon" = 3 ] && [ "$without_daemon" = 0 ]
