"""Write docs/reference/settings.md: every setting with its default, its range and its meaning.

.venv/bin/python docs/settings.py
"""

from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from pipeline.config import CONF
from pipeline.settings import Section, Settings

PAGE = Path(__file__).parent / "reference" / "settings.md"
HEAD = """# Settings

Every setting of [conf/pipeline.yaml](../../conf/pipeline.yaml), with its default. Change one with
`--set section.key=value`, or several in an overlay: `--conf my.yaml`. An unknown setting is an error that names the
nearest known one.

This page is made by `.venv/bin/python docs/settings.py`.
"""


def page() -> str:
    """Return the page: a section of settings a table, a setting a row."""
    defaults = yaml.safe_load((CONF / "pipeline.yaml").read_text(encoding="utf-8"))
    lines = [HEAD]
    for section, section_field in Settings.model_fields.items():
        lines += [f"## {section}", "", "| setting | default | takes | meaning |", "|---|---|---|---|"]
        for key, field in cast(type[Section], section_field.annotation).model_fields.items():
            default = _code(defaults[section][key])
            lines.append(f"| `{section}.{key}` | {default} | {_takes(field)} | {_text(field.description or '')} |")
        lines.append("")
    return "\n".join(lines)


def _takes(field: FieldInfo) -> str:
    """Return the type of a setting, and its range or choices, in words."""
    kind, bounds = field.annotation, {}
    for rule in field.metadata:
        bounds |= {name: getattr(rule, name) for name in ("ge", "le") if hasattr(rule, name)}
    if choices := [choice for choice in get_args(kind) if isinstance(choice, str)]:
        return ", ".join(f"`{choice}`" for choice in choices)
    names = {int: "integer", float: "number", bool: "`true` or `false`", str: "text", int | None: "integer or `null`"}
    name = names.get(kind) or {list: "list", dict: "mapping"}[get_origin(kind)]
    return f"{name}, {bounds['ge']:g} to {bounds['le']:,}" if bounds else name


def _code(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).removesuffix("...\n").strip()
    return f"`{text}`".replace("|", "\\|")


def _text(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
