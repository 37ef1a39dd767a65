"""The configuration: conf/pipeline.yaml, overlays on top of it, and --set on top of those."""

import argparse
import difflib
import importlib.resources
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pipeline import sql
from pipeline.settings import PATH, Section, Settings

# conf/ is beside pipeline/, in a checkout as in the zip that spark-submit.sh sends to a cluster.
PACKAGE = cast(Path, importlib.resources.files("pipeline"))  # or a zipfile.Path, which does the same
CONF = PACKAGE.parent / "conf"
# spark-submit.sh says where the checkout is, because the jobs import pipeline from the zip.
ROOT = Path(os.environ.get("PIPELINE_ROOT") or Path(__file__).parent.parent)
PATHS = tuple(
    f"{section}.{key}"
    for section, model in Settings.model_fields.items()
    for key, field in cast(type[Section], model.annotation).model_fields.items()
    if PATH in field.metadata
)
# The words for pydantic's errors of type.
TYPES = {"int_type": "int", "float_type": "float", "bool_type": "bool", "string_type": "str", "list_type": "list"}


class PipelineError(Exception):
    """A mistake that a person can fix. The message is one line: what, where, and the command that fixes it."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.splitlines()))  # whatever the input that it quotes holds


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


def load(overlays: Sequence[str] = (), settings: Sequence[str] = ()) -> Settings:
    """Return the resolved configuration as config.section.key.

    overlays are YAML files, settings are 'section.key=value' texts with YAML values; later ones win,
    settings win over overlays. Raises PipelineError for a file that cannot be read, an unknown key
    (naming the nearest known one), a value of the wrong type or range, and values that do not go together.
    """
    config = Settings.model_validate(_read_yaml(CONF / "pipeline.yaml"))
    for name in overlays:
        path = Path(name) if Path(name).exists() else ROOT / name
        for key, value in _flat(_read_yaml(path)):
            _assign(config, key, value, name)
    for key in PATHS:
        section, name = _place_of(config, key)
        given = getattr(section, name)
        from_root = [_from_root(place) for place in given] if isinstance(given, list) else _from_root(given)
        setattr(section, name, from_root)
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise PipelineError(f"--set {text}: write it as section.key=value, e.g. --set als.rank=64")
        _assign(config, key, _parse(value, key), "--set")
    _require_agreement(config)
    return config


def as_dict(config: Settings) -> dict[str, dict[str, Any]]:
    """Return the configuration as plain nested dicts, for the manifest."""
    return config.model_dump()


def changed(config: Settings, settings: dict[str, Any]) -> Settings:
    """Return the configuration with some settings, 'section.key': value, replaced. Raises PipelineError, see load()."""
    other = config.model_copy(deep=True)
    for key, value in settings.items():
        _assign(other, key, value, "changed")
    return other


def _require_agreement(config: Settings) -> None:
    """Raise PipelineError for values that do not go together."""
    als, data = config.als, config.data
    if als.solver == "conjugate_gradient" and (als.nonnegative or not als.implicitPrefs):
        raise PipelineError(
            "als.solver=conjugate_gradient takes als.implicitPrefs=true and als.nonnegative=false only; "
            "change these, or give --set als.solver=spark"
        )
    if data.kind == "events" and not als.implicitPrefs:
        raise PipelineError("data.kind=events has no stars to predict; give --set als.implicitPrefs=true")
    if data.ids == "string" and config.evaluation.test:
        raise PipelineError("evaluation.test takes data.ids=integer only; give --set evaluation.test=")
    if not data.genre_separator:
        raise PipelineError("data.genre_separator is empty; give --set 'data.genre_separator=|'")
    if als.warm_start and als.solver == "spark":
        raise PipelineError(
            "als.warm_start=true: Spark's ALS takes no factors to begin with; give --set als.solver=conjugate_gradient"
        )
    known_gates = sql.names("gates/bounds")
    if unknown := [name for name in config.gates.skip if name not in known_gates]:
        raise PipelineError(f"gates.skip: no gate '{unknown[0]}' can be left out; these can: {', '.join(known_gates)}")


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


def _flat(content: dict) -> list[tuple[str, Any]]:
    """Return ('section.key', value) pairs; a section without a mapping below it keeps its bare name."""
    pairs: list[tuple[str, Any]] = []
    for section, keys in content.items():
        if isinstance(keys, dict):
            pairs += [(f"{section}.{key}", value) for key, value in keys.items()]
        elif keys is not None:
            pairs.append((str(section), keys))
    return pairs


def _place_of(config: Settings, key: str) -> tuple[Section, str]:
    section, name = key.split(".")
    return getattr(config, section), name


def _assign(config: Settings, key: str, value: Any, where: str) -> None:
    """Set one setting. Raises PipelineError, in one line with where it was given, for a wrong key or value."""
    known = [f"{section}.{name}" for section, keys in config for name in type(keys).model_fields]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        raise PipelineError(f"{where}: unknown setting '{key}'; did you mean '{near[0]}'? conf/pipeline.yaml has all")
    section, name = _place_of(config, key)
    try:
        setattr(section, name, value)
    except ValidationError as error:
        raise PipelineError(f"{where}: {key} {_in_words(error, type(section).model_fields[name], value)}") from error


def _in_words(error: ValidationError, field: FieldInfo, value: Any) -> str:
    """Return what is wrong with a value, as the end of a sentence that begins with the setting."""
    found = error.errors()[0]
    bounds = {kind: getattr(rule, kind) for rule in field.metadata for kind in ("ge", "le") if hasattr(rule, kind)}
    match found["type"]:
        case "literal_error":
            return f"must be {found['ctx']['expected']}, not {value!r}"
        case "greater_than_equal" | "less_than_equal":
            return f"must lie between {bounds['ge']:g} and {bounds['le']}, not {value}"
        case "value_error":
            return str(found["ctx"]["error"])
        case kind:
            null = " or null" if type(None) in get_args(field.annotation) else ""
            return f"must be {TYPES.get(kind, kind)}{null}, not {value!r}"


def _parse(value: str, key: str) -> Any:
    if key in PATHS and not (key == "data.more_ratings" and value.startswith("[")):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise PipelineError(f"--set {key}={value}: the value is not valid YAML") from error


def _from_root(path: str) -> str:
    if not path or re.match(r"[a-z][a-z0-9+.-]*://?", path) or Path(path).is_absolute():
        return path
    return str(ROOT / path)
