"""The pages hold: made ones are current, links lead somewhere, quoted messages are in the code, nothing is fetched."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs import generate

TOP = Path(__file__).parent.parent.parent
DOCS = TOP / "docs"
HAND = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "deployments/README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_made_page_is_current(name: str) -> None:
    assert generate.page(name) == (DOCS / name).read_text(encoding="utf-8"), "run `make docs`"


def test_each_command_with_json_says_what_it_prints() -> None:
    printing = {
        name for name, command in generate.cli.commands.items() if any(p.name == "as_json" for p in command.params)
    }
    assert printing == {*generate.RESULTS}, "RESULTS in docs/generate.py names each; then run `make docs`"


def words_of_code() -> Iterator[str]:
    """Every text of the code, with … for what is filled in."""
    for path in (p for folder in ("tasks", "flows", "deployments") for p in sorted((TOP / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def quoted() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", page, re.M)


def test_troubleshooting_quotes_messages_of_the_code() -> None:
    texts = sorted({*words_of_code()})
    assert len(quoted()) > 30
    gone = []
    for message in quoted():
        pattern = re.compile(".*".join(re.escape(part.strip(" ")) for part in message.split("…")), re.S)
        if not any(pattern.search(text) for text in texts):
            gone.append(message)
    assert gone == [], "quote the new text of these messages in docs/troubleshooting.md"


@pytest.mark.parametrize("path", HAND, ids=lambda p: str(p.relative_to(TOP)))
def test_links_of_the_repository_lead_to_a_file(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_readme_names_files_that_are_there() -> None:
    """Paths in backticks, in README and CONTRIBUTING, exist."""
    for page in HAND[:2]:
        for name in re.findall(r"`((?:tasks|flows|tests|deployments|docs)/[\w./-]+)", page.read_text(encoding="utf-8")):
            assert "NAME" in name or (TOP / name).exists(), f"{page.name} names {name}"


class Loads(HTMLParser):
    """The addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.found.append(values.get("src") or "")
        elif tag == "link" and values.get("rel") != "canonical":
            self.found.append(values.get("href") or "")


@pytest.mark.whole
def test_pages_build_strictly_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="no mkdocs-material: `make install`")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=TOP,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert [one for one in loads.found if one.startswith(("http:", "https:", "//"))] == [], page.name
