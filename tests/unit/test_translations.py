"""A translated page has the commands, names and links of the original."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.glob("*.pt-BR.md")) + sorted(ROOT.glob("docs/**/*.pt-BR.md"))


def original_of(page: Path) -> Path:
    return page.with_name(page.name.replace(".pt-BR", ""))


def commands_of(text: str) -> list[str]:
    """Return the lines of the blocks of code, without the comments behind them."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(
        r"^    (?! )(.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    lines = [*"".join(fenced).splitlines(), *indented]
    return [bare for line in lines if (bare := re.sub(r"(^|\s)#.*", "", line).strip())]


def names_of(text: str) -> set[str]:
    """Return what stands between backquotes."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def links_of(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_translation_says_what_the_original_says(page: Path) -> None:
    original, translated = original_of(page).read_text(), page.read_text()
    assert commands_of(translated)
    # README.pt-BR.md ends before what only contributors need.
    part = commands_of(original)[: len(commands_of(translated))]
    assert commands_of(translated) == part
    assert names_of(translated) - names_of(original) == set()
    # Each page links to the other one.
    links = {link.replace(".pt-BR.md", ".md") for link in links_of(translated)} - {original_of(page).name}
    assert links - links_of(original) == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_a_translated_page_of_the_docs_is_complete(page: Path) -> None:
    original, translated = original_of(page).read_text(), page.read_text()
    assert commands_of(translated) == commands_of(original)
    assert names_of(translated) == names_of(original)


def test_there_are_translations() -> None:
    assert {page.name for page in PAGES} >= {"README.pt-BR.md", "tutorial.pt-BR.md"}


@pytest.mark.parametrize(
    ("before", "after"),
    [("make demo", "make dema"), ("`airflow_worker`", "`airflow_workers`"), ("(LICENSE)", "(LICENCE)")],
)
def test_a_difference_is_found(before: str, after: str) -> None:
    text = "Run\n\n    make demo  # now\n\nin `airflow_worker`, [license](LICENSE).\n"
    found = text.replace(before, after)
    assert found != text
    assert (commands_of(found), names_of(found), links_of(found)) != (commands_of(text), names_of(text), links_of(text))
