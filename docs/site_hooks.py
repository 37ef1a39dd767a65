"""Hooks of mkdocs.yml: pages from outside docs/ join the site, and links between files of the project lead there.

A file of docs/ keeps its place below docs/, README.md is the start page, a folder's README.md becomes its folder.md,
and any other file keeps its path in the project.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "warehouse/README.md", "benchmarks/**/*.md")
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/, and every file of the project that any page links to."""
    added = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    pages = added | {Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path}
    for page in pages:
        added |= {target for target in linked(page) if target.is_file()}
    for path in sorted(added):
        if not path.is_relative_to(ROOT / "docs"):
            files.append(File.generated(config, in_site(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the project into links between places of the site; folders and hidden files have
    none."""
    here = Path(page.file.abs_src_path)

    def moved(link: re.Match) -> str:
        target = Path(os.path.normpath(here.parent / link[2]))
        if target.is_dir() or "/." in str(target).removeprefix(str(ROOT)):
            return f"{link[1]}#{link[4]}"
        if not target.is_file():
            return link[0]  # for mkdocs to complain of
        place = os.path.relpath(in_site(target), Path(in_site(here)).parent)
        return f"{link[1]}{place}{link[3] or ''}{link[4]}"

    return LINK.sub(moved, markdown)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Hold a finished page to loading nothing from another host. Raises PluginError."""
    if foreign := re.search(
        r"""<(?:script|link|img|iframe|source)[^>]*(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", output
    ):
        raise PluginError(f"{page.file.src_uri}: would load {foreign[1]}")
    return output


def in_site(path: Path) -> str:
    """Return a file's place among the sources of the site."""
    if path == ROOT / "README.md":
        return "index.md"
    if path.name == "README.md":  # docs/warehouse.md has the place of warehouse/README.md
        path = path.with_name("folder.md")
    return str(path.relative_to(ROOT / "docs" if path.is_relative_to(ROOT / "docs") else ROOT))


def linked(page: Path) -> set[Path]:
    """Return the files and folders that a page links to."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    return {Path(os.path.normpath(page.parent / target)) for _, target, *_ in targets}
