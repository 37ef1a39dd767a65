"""Families of titles, such as the Toy Story films: what a list of titles alike should hold. No Spark.

Families are read off the titles, and titles are no input of the lists: so the lists cannot know the answer.
"""

import collections
import re
import unicodedata
from collections.abc import Sequence

LARGEST = 12  # titles of a family; more share a word, not a story
BRACKETS = re.compile(r"\([^)]*\)|\[[^]]*\]")
# What follows the name of a family: a subtitle, or the number of the part, in words, figures or Roman numerals.
SUBTITLE = re.compile(r"(?<=\w\w)\s*(?::| - | – ).*$")
PART = re.compile(r"[,\s]+(?:(?:part|episode|vol|volume|chapter|book)\b.*|\d{1,2}|[ivx]+|one|two|three)$", re.I)
ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.I)


def family(title: str) -> str:
    """Return the family that a title names, in lower case: 'toy story' for 'Toy Story 2'."""
    name = SUBTITLE.sub("", BRACKETS.sub("", title).strip())
    name = PART.sub("", ARTICLE.sub("", name)).strip()
    plain = unicodedata.normalize("NFKD", name.replace("&", " and ").lower()).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def franchises(titles: Sequence[str]) -> list[list[int]]:
    """Return the positions of the titles of each family that has 2 to LARGEST of them, in order of its first."""
    members: dict[str, list[int]] = collections.defaultdict(list)
    for position, title in enumerate(titles):
        if len(name := family(title)) > 2:
            members[name].append(position)
    return [found for found in members.values() if 2 <= len(found) <= LARGEST]
