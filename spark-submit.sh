#!/usr/bin/env bash
# The front door: sets up what is missing, then submits a job to Spark.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'EOF'
./spark-submit.sh                                      set up if needed, run the main job on the bundled data
./spark-submit.sh JOB [--conf FILE] [--set SECTION.KEY=VALUE] [--verbose]
./spark-submit.sh [SPARK-SUBMIT OPTIONS] [JOB ...]     e.g. --master spark://host:7077 jobs/run_pipeline.py

Jobs
  jobs/run_pipeline.py         all stages, then publish (the main job); resumes a run that died, --fresh starts over
  jobs/train_als.py            ratings to item factors
  jobs/build_neighbours.py     item factors to neighbour lists, then publish
  jobs/evaluate.py             held-out likes to metrics, plots and a report; --report DIR
  jobs/tune.py                 search the configuration: --protocol strangers|histories --budget MINUTES --out FILE
  jobs/enrich_imdb.py          IMDb's files to runtime, genres, kind and votes of the linked titles; --imdb DIR
  jobs/download_movielens.py   fetch a MovieLens data set: latest-small 100k 1m 10m 20m 25m 32m latest

Job options (conf/pipeline.yaml explains every setting)
  --conf FILE                  overlay, e.g. conf/mvp.yaml; may repeat
  --set SECTION.KEY=VALUE      one setting, e.g. --set data.dir=DIR --set warehouse.dir=DIR --set als.rank=64; may repeat
  --verbose                    show the stack trace of an error

Environment
  PYTHON          the Python (3.11 or newer) to make .venv with
  JAVA_HOME       the Java (17 or newer) to use; without one a runtime from PyPI is used
  SPARK_CORES     cores to use on one machine (default: all)
  SPARK_MEMORY    driver memory on one machine, e.g. 8g (default: half of the machine's)

Every run prints where Spark's log goes. Exit codes: 0 done, 1 a mistake explained in one line, 2 a
wrong option, 3 refused by a gate, 75 another run is writing (try again later), 130 stopped.
EOF
}

# Everything before the job is spark-submit's, everything behind it is the job's.
spark_options=() job="" job_options=() master=""
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        *.py) job=$1; shift; job_options+=("$@"); break ;;
        --set) job_options+=("$1" "${2:?--set needs SECTION.KEY=VALUE}"); shift 2 ;;
        --set=*) job_options+=("$1"); shift ;;
        --conf)
            case ${2:?--conf needs a value} in
                *.yaml | *.yml) job_options+=("$1" "$2") ;;
                *) spark_options+=("$1" "$2"); case $2 in spark.master=*) master=${2#*=} ;; esac ;;
            esac
            shift 2 ;;
        --verbose | --supervise | --version) spark_options+=("$1"); shift ;;
        --master) master=${2:?--master needs a URL}; spark_options+=("$1" "$2"); shift 2 ;;
        --*) spark_options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
        *) printf 'error: %s: not a job and not an option; ./spark-submit.sh --help lists them\n' "$1" >&2; exit 2 ;;
    esac
done
job=${job:-$ROOT/jobs/run_pipeline.py}
[ -f "$job" ] || job="$ROOT/$job"
[ -f "$job" ] || { printf 'error: %s: no such job; ./spark-submit.sh --help lists them\n' "${job#"$ROOT"/}" >&2; exit 2; }

# shellcheck source=setup.sh
. "$ROOT/setup.sh"
setup_python requirements.txt
name=$(basename "$job" .py)
if [ "$name" = download_movielens ]; then
    exec "$PYTHON" "$job" ${job_options[@]+"${job_options[@]}"}
fi
setup_java

cores=${SPARK_CORES:-$(getconf _NPROCESSORS_ONLN)}
command -v nproc >/dev/null && cores=${SPARK_CORES:-$(nproc)}
# Half of the memory, in MiB, for the JVM: the rest is for the Python workers and the system.
memory() {
    local total limit=""
    if [ -r /proc/meminfo ]; then
        total=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
        [ -r /sys/fs/cgroup/memory.max ] && limit=$(awk '/^[0-9]+$/ {print int($1 / 1048576)}' /sys/fs/cgroup/memory.max)
    else
        total=$(($(sysctl -n hw.memsize) / 1048576))
    fi
    [ -n "$limit" ] && [ "$limit" -lt "$total" ] && total=$limit
    echo "$((total / 2 > 1024 ? total / 2 : 1024))m"
}

# ALS hands Java one long chain of steps: with the usual stack, many iterations overflow it.
# Java's optimising compiler would take a third of what a short run computes: it waits until code has run ten times as often
# as by default, which on large data comes soon.
java_options="-Xss16m -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000"
java_options+=" -XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
# ALS spends four fifths of its time in a BLAS routine that Spark has in plain Java only (docs/training.md). On Linux, faiss
# brings a native library along, built with OpenMP: one thread each, since Spark runs a task on every core.
native_blas() {
    local library
    for library in "$ROOT"/.venv/lib/python3*/site-packages/faiss_cpu.libs/libopenblaso-*.so; do
        [ -f "$library" ] || continue
        java_options+=" \"-Ddev.ludovic.netlib.blas.nativeLibPath=$library\" \"-Ddev.ludovic.netlib.lapack.nativeLibPath=$library\""
        export LD_LIBRARY_PATH="${library%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-$cores}"
        kernels=${OPENBLAS_CORETYPE:-$("$PYTHON" "$ROOT/pipeline/model/blas.py")}
        [ -z "$kernels" ] || export OPENBLAS_CORETYPE="$kernels"
    done
}

case $master in
    "" | local | local\[*)
        export SPARK_LOCAL_IP=127.0.0.1
        native_blas
        sized=(--properties-file "$ROOT/conf/spark-local.conf" --driver-memory "${SPARK_MEMORY:-$(memory)}"
            --driver-java-options "$java_options" --conf "spark.sql.shuffle.partitions=$cores")
        [ -n "$master" ] || sized+=(--master "local[$cores]") ;;
    *) sized=(--properties-file "$ROOT/conf/spark-cluster.conf") ;;
esac

mkdir -p "$ROOT/logs"
export PIPELINE_ROOT="$ROOT" PIPELINE_LOG
PIPELINE_LOG="$ROOT/logs/$(date -u +%Y%m%dT%H%M%SZ)-$name-$$.log"
export LOG4J_CONFIGURATION_FILE="${LOG4J_CONFIGURATION_FILE:-$ROOT/conf/log4j2.properties}"
export PYSPARK_PYTHON="${PYSPARK_PYTHON:-$PYTHON}" PYSPARK_DRIVER_PYTHON="$PYTHON"
export PIPELINE_PYTHON=.venv/bin/python
# spark-submit passes the job's output on through a pipe: the job cannot see the terminal itself.
if [ -t 1 ]; then
    export PIPELINE_TERMINAL=yes COLUMNS
    COLUMNS=$(tput cols 2>/dev/null || echo 100)
fi
# The code for the workers and for a driver on the cluster. A run keeps its own copy while the code changes.
place="$ROOT/.venv"
[ -w "$place" ] || place="$ROOT/logs"  # in a container .venv is part of the image
archive=$("$PYTHON" "$ROOT/pipeline/batch/workers_zip.py" "$ROOT" "$place")

say "Spark's log: ${PIPELINE_LOG#"$PWD"/}"
# On every start Java warns of options that Spark's launcher gives it, and netlib that there is no native BLAS.
exec "$ROOT/.venv/bin/spark-submit" "${sized[@]}" ${spark_options[@]+"${spark_options[@]}"} --py-files "$archive" \
    "$job" ${job_options[@]+"${job_options[@]}"} 2> >(grep --line-buffered -vE '^WARNING: (Using incubator modules: jdk.incubator.vector|package .* not in java.base)|^netlib-(blas|lapack): ' >&2)
