"""The configuration: conf/pipeline.yaml, overlays on top of it, and --set on top of those."""

import argparse
import contextlib
import copy
import difflib
import importlib.resources
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml

# conf/ stands beside pipeline/, in a checkout as in the zip that spark-submit.sh sends to a cluster.
PACKAGE = cast(Path, importlib.resources.files("pipeline"))  # or a zipfile.Path, which does the same
CONF, SQL = PACKAGE.parent / "conf", PACKAGE / "sql"
# spark-submit.sh says where the checkout is, because the jobs import pipeline from the zip.
ROOT = Path(os.environ.get("PIPELINE_ROOT") or Path(__file__).parent.parent)
PATHS = (
    "data.dir",
    "data.more_ratings",
    "data.imdb",
    "warehouse.dir",
    "sessions.path",
    "evaluation.test",
    "operations.prometheus_file",
)
CHOICES = {
    "data.ids": ("integer", "string"),
    "data.kind": ("ratings", "events"),
    "data.titles": ("movielens", "plain"),
    "likes.weight": ("constant", "graded"),
    "als.solver": ("spark", "conjugate_gradient"),
    "neighbours.search": ("exact", "approximate"),
    "neighbours.similarity": ("spectral", "whitened", "cosine"),
    "evaluation.protocol": ("all", "strangers", "histories"),
}
# What the keys of a mapping may be.
KEYS = {
    "data.columns": (
        "user_id",
        "movie_id",
        "rating",
        "timestamp",
        "title",
        "genres",
        "year",
        "imdb_id",
        "tmdb_id",
        "tag",
    ),
    "data.files": ("ratings", "movies", "links", "tags"),
}
# Smallest and largest value; what als: takes is checked by Spark. Ranks are stored as smallint.
RANGES = {
    "data.max_rejected_share": (0, 1),
    "als.rank": (1, 4096),
    "als.maxIter": (1, 1000),
    "neighbours.k": (1, 32767),
    "neighbours.recall": (0.5, 1),
    "neighbours.whitening": (1e-6, 1e6),
    "neighbours.min_support": (0, 2**31 - 1),
    "neighbours.query_block": (1, 2**20),
    "neighbours.item_block": (1, 2**20),
    "neighbours.piece_mib": (1, 2**20),
    "spectral.shrinkage": (1e-6, 1e9),
    "spectral.damping": (1e-6, 1e6),
    "spectral.user_exponent": (0, 1),
    "spectral.popularity_exponent": (-2, 2),
    "spectral.residual": (0, 1),
    "spectral.content": (0, 1e6),
    "spectral.year": (0, 1e6),
    "spectral.words": (0, 1e6),
    "popularity.titles_per_genre": (1, 32767),
    "popularity.weight": (0, 1e6),
    "map.titles": (0, 10_000),
    "evaluation.folds": (2, 100),
    "evaluation.draws": (1, 100),
    "evaluation.min_targets": (1, 10_000),
    "evaluation.max_users": (1, 1_000_000),
    "warehouse.keep": (0, 1_000_000),
    "gates.min_coverage": (0, 1),
    "gates.max_hub_share": (0, 1),
    "gates.max_row_loss": (0, 1),
    "gates.max_quality_loss": (0, 1),
    "sql.seconds": (1, 3600),
    "sql.rows": (1, 1_000_000),
    "sql.memory_mb": (64, 2**20),
}


Settings = SimpleNamespace
DataSettings = SimpleNamespace


class PipelineError(Exception):
    """A mistake a person can mend. The message is one line: what, where, and the command that fixes it."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.splitlines()))  # whatever stood in the input that it quotes


class RefusedError(PipelineError):
    """A gate found something: no use in trying again before a person has looked."""

    exit_code = 3


class BusyError(PipelineError):
    """Another process writes to the warehouse: the same command works once it has ended."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every entry point understands: --conf, --set and --verbose."""
    parser.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="FILE",
        help="overlay of conf/pipeline.yaml; may repeat",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="one setting, e.g. als.rank=128; may repeat",
    )
    parser.add_argument("--verbose", action="store_true", help="show the stack trace of an error")


def load(overlays: Sequence[str] = (), settings: Sequence[str] = ()) -> SimpleNamespace:
    """Return the resolved configuration as config.section.key.

    overlays are YAML files, settings are 'section.key=value' texts with YAML values; later ones win,
    settings win over overlays. Raises PipelineError for a file that cannot be read, an unknown key
    (naming the nearest known one), a value of the wrong type and values that do not go together.
    """
    defaults = _read_yaml(CONF / "pipeline.yaml")
    values = {key: value for section, keys in defaults.items() for key, value in _flat(section, keys)}
    known = dict(values)
    for name in overlays:
        path = Path(name) if Path(name).exists() else ROOT / name
        for section, keys in _read_yaml(path).items():
            for key, value in _flat(section, keys):
                _require_known(key, known, name)
                values[key] = _typed(key, value, known[key], name)
    for key in PATHS:
        places = values[key]
        values[key] = [_from_root(place) for place in places] if isinstance(places, list) else _from_root(places)
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise PipelineError(f"--set {text}: write it as section.key=value, e.g. --set als.rank=64")
        _require_known(key, known, "--set")
        values[key] = _typed(key, _parse(value, key), known[key], "--set")

    config = SimpleNamespace()
    for key, value in values.items():
        section, name = key.split(".")
        if not hasattr(config, section):
            setattr(config, section, SimpleNamespace())
        setattr(getattr(config, section), name, value)
    if config.als.solver == "conjugate_gradient" and (config.als.nonnegative or not config.als.implicitPrefs):
        raise PipelineError(
            "als.solver=conjugate_gradient takes als.implicitPrefs=true and als.nonnegative=false only; "
            "change these, or give --set als.solver=spark"
        )
    if config.data.kind == "events" and not config.als.implicitPrefs:
        raise PipelineError("data.kind=events has no stars to predict; give --set als.implicitPrefs=true")
    if config.data.ids == "string" and config.evaluation.test:
        raise PipelineError("evaluation.test takes data.ids=integer only; give --set evaluation.test=")
    if not config.data.genre_separator:
        raise PipelineError("data.genre_separator is empty; give --set 'data.genre_separator=|'")
    if config.als.warm_start and config.als.solver == "spark":
        raise PipelineError(
            "als.warm_start=true: Spark's ALS takes no factors to begin with; give --set als.solver=conjugate_gradient"
        )
    known_gates = sorted(gate.name.removesuffix(".sql") for gate in (SQL / "gates" / "bounds").iterdir())
    if unknown := [str(name) for name in config.gates.skip if name not in known_gates]:
        raise PipelineError(f"gates.skip: no gate '{unknown[0]}' can be left out; these can: {', '.join(known_gates)}")
    return config


def as_dict(config: SimpleNamespace) -> dict[str, dict[str, Any]]:
    """Return the configuration as plain nested dicts, for the manifest."""
    return {section: dict(vars(keys)) for section, keys in vars(config).items()}


def changed(config: Settings, settings: dict[str, object]) -> Settings:
    """Return the configuration with some settings, 'section.key': value, replaced."""
    other = copy.deepcopy(config)
    for key, value in settings.items():
        section, name = key.split(".")
        setattr(getattr(other, section), name, value)
    return other


def _read_yaml(path: Any) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{path}: cannot read this configuration file ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise PipelineError(f"{where}: this is not valid YAML") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: expected sections such as 'als:' with keys below them")
    return content


def _flat(section: Any, keys: Any) -> list[tuple[str, Any]]:
    """Yield ('section.key', value) pairs; a section without a mapping below it keeps its bare name."""
    if not isinstance(keys, dict):
        return [] if keys is None else [(str(section), keys)]
    return [(f"{section}.{key}", value) for key, value in keys.items()]


def _require_known(key: str, known: dict[str, Any], where: str) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise PipelineError(f"{where}: unknown setting '{key}'; did you mean '{near[0]}'? conf/pipeline.yaml has all")


def _parse(value: str, key: str) -> Any:
    if key in PATHS and not (key == "data.more_ratings" and value.startswith("[")):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise PipelineError(f"--set {key}={value}: the value is not valid YAML") from error


def _typed(key: str, value: Any, default: Any, where: str) -> Any:
    """Return value in the type of the key's default and within its bounds; a default of null: an optional integer."""
    if isinstance(value, str) and isinstance(default, float):
        # YAML 1.1 reads 1e-3 as text.
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(value, str) and key == "data.more_ratings":
        value = [value] if value else []
    right = (value is None or type(value) is int) if default is None else type(value) is type(default)
    if key == "data.more_ratings" and right:
        right = all(isinstance(place, str) and place for place in value)
    if not right:
        expected = "int or null" if default is None else "a list of paths" if key in PATHS else type(default).__name__
        raise PipelineError(f"{where}: {key} must be {expected}, not {value!r}")
    if key in CHOICES and value not in CHOICES[key]:
        raise PipelineError(f"{where}: {key} must be {' or '.join(CHOICES[key])}, not {value!r}")
    if key in KEYS:
        for name, theirs in value.items():
            if name not in KEYS[key]:
                raise PipelineError(f"{where}: {key} has no '{name}'; it maps {', '.join(KEYS[key])}")
            texts = theirs if isinstance(theirs, list) and key == "data.columns" else [theirs]
            if not texts or not all(isinstance(text, str) and text for text in texts):
                raise PipelineError(f"{where}: {key} must give a name for {name}, not {theirs!r}")
    low, high = RANGES.get(key, (value, value))
    if key in RANGES and not low <= value <= high:
        raise PipelineError(f"{where}: {key} must lie between {low:g} and {high}, not {value}")
    return value


def _from_root(path: str) -> str:
    if not path or re.match(r"[a-z][a-z0-9+.-]*://?", path) or Path(path).is_absolute():
        return path
    return str(ROOT / path)
