"""Plain text: nothing from outside is obeyed by a terminal or read as markup by a page; everything else stays."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.cli import backup, service, show
from tasks.answers.index import IndexedRow
from tasks.answers.reply import SourceRow
from tasks.core import plain
from tasks.core.backup import Manifest
from tasks.orchestrator.status import MachineStatus, Matter

PAGE = MarkdownIt("commonmark", {"html": True}).enable("table")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 here", "click here"),  # a link by OSC 8
        ("\x1b]0;title\x1b\\x", "x"),
        ("\x1b[2J\x1b[31;1mred\x1b[0m \x9b31mC1\x9dosc\x9c!", "red C1!"),
        ("\x1bcreset\x1b(B", "reset"),
        ("back\x08space\rbell\x07 nul\x00", "backspacebell nul"),
        ("gnp.\u202eexe \u2066a\u2069", "gnp.exe a"),
        ("two\nlines\tand a tab, caf\u00e9 \u6771\u4eac \U0001f468\u200d\U0001f469", None),
    ],
)
def test_a_terminal_is_told_nothing(text, shown):
    assert plain.terminal(text) == (text if shown is None else shown)


@given(st.text(st.sampled_from("\x1b[]\\;0mP\x07\x9b\x9d\x9c\x00\r\u202ea\n") | st.characters(), max_size=40))
def test_no_control_is_left_and_a_second_time_changes_nothing(text):
    shown = plain.terminal(text)
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert plain.terminal(shown) == shown
    assert json.loads(plain.escaped(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    "text",
    [
        "x](https://evil.example) ![i](https://evil.example/i.png)",
        "<img src=x onerror=alert(1)> <https://evil.example>",
        "a | b || c",
        "**bold** _it_ `code` # head ~~no~~ $x$ [ref]: /u",
        "https://evil.example www.evil.example",
    ],
)
def test_a_page_shows_the_text_as_it_stands(text):
    cell = plain.markdown(text)
    html = PAGE.render(f"| a | b |\n|---|---|\n| {cell} | end |\n")
    assert html.count("<td>") == 2
    assert not [tag for tag in ("<a", "<img", "<em", "<strong", "<code", "<h1") if tag in html]
    assert "](" not in cell
    assert "://" not in cell


def test_a_uid_stays_inside_its_url():
    row = IndexedRow(
        uid="../../x](https://evil.example)?q=1#\u00e9",
        title="t",
        content="c",
        line=1,
        shard=0,
        digest="d",
    )
    url = SourceRow.of(row, "https://shop.example/dp/{uid}").url
    assert url == "https://shop.example/dp/..%2F..%2Fx%5D%28https%3A%2F%2Fevil.example%29%3Fq%3D1%23%C3%A9"


def test_the_command_prints_nothing_that_is_obeyed(capsys):
    show.echo("uid \x1b]0;owned\x07B01 \u202e\x9b31m")
    assert capsys.readouterr().out == "uid B01 \n"


OWNED = "shard \x1b]0;owned\x07one \u202e\x9b31mend"


@pytest.mark.parametrize("as_json", [False, True])
def test_no_command_prints_what_is_obeyed(capsys, monkeypatch, as_json):
    made = Manifest.model_construct(made="today", root=OWNED, files=(), elsewhere=(OWNED,))
    backup._tell("whole", made, OWNED, as_json, aside=OWNED)
    matter = Matter(kind="run", name=OWNED, state="failed", since="today", id="1", detail=OWNED, url=OWNED, do=OWNED)
    found = MachineStatus(root="r", service=(), open=(matter,), failed=(), people={OWNED: OWNED}, looked=OWNED)
    monkeypatch.setattr("tasks.orchestrator.status.status", lambda: found)
    monkeypatch.setattr("tasks.core.settings.find", lambda: None)
    service.status.callback(login=False, as_json=as_json)
    told = capsys.readouterr().out
    assert "shard" in told
    assert not [c for c in told if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"]
