"""The tutorial as a list of what its reader does and sees, section by section."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Files of the reader's repository that the text names before it shows what belongs into them.
FILE = re.compile(r"`(requirements\.yml|inventory/production/[\w./]+\.yml|hello\.py)`")
FENCED = re.compile(r"^```(?P<language>\w+)\n(?P<fenced>.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A block of the page.

    :param kind: ``commands``, ``text`` (what the commands before it print), ``yaml`` or ``python`` (the content of a
        file).
    :param file: the file that the text has named last, for ``yaml`` and ``python``.
    """

    kind: str
    text: str
    file: str = ""


def sections_of(page: str) -> dict[str, list[Step]]:
    """Return the steps of each section that has some, by its heading."""
    found = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if steps := _steps_of(text):
            found[heading] = steps
    return found


def _steps_of(text: str) -> list[Step]:
    blocks = [(match.start(), match["language"], match["fenced"]) for match in FENCED.finditer(text)]
    # Lines of fenced blocks may be indented as well.
    prose = FENCED.sub(lambda match: re.sub(r"[^\n]", ".", match[0]), text)
    for match in INDENTED.finditer(prose):
        blocks.append((match.start(), "commands", re.sub(r"^    ", "", match[0], flags=re.MULTILINE)))
    steps = []
    for start, kind, content in sorted(blocks):
        names = FILE.findall(prose[:start])
        file = names[-1] if names and kind in {"yaml", "python"} else ""
        steps.append(Step(kind, content, "dags/hello.py" if file == "hello.py" else file))
    return steps


def lines_of(output: str) -> str:
    """Return what a playbook has printed without the marks of YAML around the lines of a message."""
    return "\n".join(re.sub(r"^\s*(?:- )?['\"]?(.*?)['\"]?\s*$", r"\1", line) for line in output.splitlines())


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what a command must have printed: the lines in their order, with anything between them for ``...``.

    Widths of columns count nothing. A row of the table of tasks fits with any worker, because the queue decides.
    """
    lines = []
    for line in text.splitlines():
        if re.match(r"\s+\d{4}-\d\d-\d\d", line):
            line = re.sub(r"\bworker\d\b", "...", line)
        words = [re.escape(word).replace(r"\.\.\.", ".*") for word in line.split()]
        words = ["-+" if re.fullmatch(r"(\\-)+", word) else word for word in words]
        lines.append(r"\s+".join(words))
    return re.compile(r"^\s*" + r"\s*\n\s*".join(lines), re.MULTILINE)


def merged(old: Any, new: Any) -> Any:
    """Return the content of a YAML file into which a reader has put a block of the page."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new
