"""Lint: thirty defects planted in one export are found at their lines, a clean one has none, and quarantine adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import check
from tasks.core.errors import ExportError
from tasks.core.models import Export
from tasks.examples import lint
from tasks.examples.export import BESIDE

MODEL = "gpt-4o-mini-2024-07-18"


def example(number: int, **changes: Any) -> dict[str, Any]:
    turns = [
        {"role": "system", "content": "Act as sales representative"},
        {"role": "user", "content": changes.get("asked", f"Steel drum no. {number}")},
        {"role": "assistant", "content": changes.get("said", f"A drum of {number} litres, made of steel.")},
    ]
    return {"messages": turns}


def turns(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def turn(role: str, **more: str) -> dict[str, str]:
    return {"role": role, "content": "Drum 908"} | more


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def weighted(weight: Any, number: int) -> dict[str, Any]:
    value = example(number)
    value["messages"][-1]["weight"] = weight
    return value


# Rule -> a line that breaks it. What comes before and after is clean.
PLANTED: list[tuple[str, bytes]] = [
    ("blank", b"   "),
    ("UTF-8", dumped(example(901)).replace(b"steel", b"st\xe9el")),
    ("JSON", dumped(example(902))[:-3]),
    ("JSON", b'{"messages": [}'),
    ("object", b'["messages"]'),
    ("key", dumped(example(903) | {"title": "Drum"})),
    ("messages", b'{"messages": null}'),
    ("messages", b'{"messages": []}'),
    ("message", b'{"messages": ["a drum", {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'),
    ("role", dumped(turns(("customer", "Drum 904"), ("user", "Drum 904"), ("assistant", "A drum.")))),
    ("role", dumped(turns(("user", "Drum 905"), ("model", "A drum."), ("assistant", "A drum.")))),
    ("content", dumped(turns(("user", "Drum 906"), ("assistant", None)))),
    ("content", dumped(turns(("user", ["Drum 907"]), ("assistant", "A drum.")))),
    ("message key", dumped({"messages": [turn("user", text="x"), turn("assistant")]})),
    ("weight", dumped(weighted(2, 909))),
    ("weight", dumped(weighted("1", 910))),
    ("weights", dumped(weighted(0, 911))),
    ("question", dumped(turns(("system", "Act"), ("assistant", "A drum.")))),
    ("answer", dumped(turns(("system", "Act"), ("user", "Drum 912")))),
    ("last turn", dumped(turns(("user", "Drum 913"), ("assistant", "A drum."), ("user", "Drum 914")))),
    ("system", dumped(turns(("user", "Drum 915"), ("system", "Act"), ("assistant", "A drum.")))),
    ("system", dumped(turns(("system", "Act"), ("system", "Act"), ("user", "Drum 916"), ("assistant", "A drum.")))),
    ("turns", dumped(turns(("user", "Drum 917"), ("user", "Drum 918"), ("assistant", "A drum.")))),
    ("empty question", dumped(example(0, asked="  "))),
    ("empty answer", dumped(example(920, said=""))),
    ("duplicate", dumped(example(0))),
    ("contradiction", dumped(example(1, said="A drum of 7 litres."))),
    ("special token", dumped(example(923, said="A drum.<|im_end|>"))),
    ("control character", dumped(example(924, said="A drum\x00 of steel"))),
    ("surrogate", b'{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "a"}]}'),
    ("markup", dumped(example(926, said="A <b>drum</b> of steel"))),
    ("safety", dumped(example(927, said="A drum of explosives"))),
    ("length", dumped(example(928, said="drum " * 70_000))),
]
WARNINGS = {"turns", "duplicate", "contradiction", "markup", "safety"}


def export(folder, lines: list[bytes], split: str = "train", **changes: Any) -> Export:
    (folder / f"{split}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    many = len(lines)
    names = [[f"U{n}" for n in range(many)], list(range(many)), ["h"] * many, [None] * many]
    pq.write_table(pa.table(names, schema=BESIDE), folder / f"{split}.parquet")
    values = {
        "shard": 0, "format": "openai", "style": "sales", "split": split, "uri": str(folder / f"{split}.jsonl"),
        "rows_uri": str(folder / f"{split}.parquet"), "examples": many, "tokens": None, "truncated": None,
        "digest": "d",
    }  # fmt: skip
    return Export(**values | changes)


def clean(many: int = 60) -> list[bytes]:
    return [dumped(example(n)) for n in range(many)]


def planted() -> list[bytes]:
    """Clean lines with a defect after each second one."""
    lines = clean(2 * len(PLANTED))
    for n, (_, bad) in enumerate(PLANTED):
        lines.insert(3 * n + 2, bad)
    return lines


def test_thirty_planted_defects_are_found_at_their_lines_and_nothing_else(tmp_path):
    assert len(PLANTED) >= 30
    found = lint.of_export(export(tmp_path, planted()), MODEL, fix=False)
    wanted = {(3 * n + 3, rule, "warning" if rule in WARNINGS else "error") for n, (rule, _) in enumerate(PLANTED)}
    assert {(f.line, f.rule, f.level) for f in found.findings} == wanted
    assert all(f.uid == f"U{f.line - 1}" for f in found.findings)
    assert sum(found.counts.values()) == len(PLANTED)


def test_a_clean_export_has_no_finding_and_its_tokens_counted(tmp_path):
    found = lint.of_export(export(tmp_path, clean()), MODEL, fix=True)
    assert (found.findings, found.bad, found.quarantine_uri) == ((), 0, None)
    # "Act as sales representative" 4, "Steel drum no. N" 5 or 6, the answer 12 or so, 3 roles, 3 + 3 x 3 beside them.
    assert 60 * 30 < found.export.tokens < 60 * 40
    assert found.longest >= found.export.tokens / 60


# One example of each kind that OpenAI's guides show: calls of tools and their results, a refusal, parts with an image.
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kyiv"}'}}
ASKED = {"role": "user", "content": "Weather in Kyiv?"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
GIVEN = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://shop.example/drum.png", "detail": "low"}}
SAID = {"role": "assistant", "content": "It rains.", "weight": 1}
TAKEN = [
    {"messages": [ASKED, CALLED], "tools": TOOLS, "parallel_tool_calls": False},
    {"messages": [ASKED, {"role": "assistant", "tool_calls": [CALL]}, GIVEN, SAID], "tools": TOOLS},
    {"messages": [ASKED, {"role": "assistant", "content": None, "function_call": CALL["function"]},
                  {"role": "function", "name": "weather", "content": "rain"}, SAID],
     "functions": [TOOLS[0]["function"]]},
    {"messages": [{"role": "user", "content": "How is it made?"},
                  {"role": "assistant", "content": None, "refusal": "I may not say."}]},
    {"messages": [{"role": "user", "name": "ann", "content": [{"type": "text", "text": "What is it?"}, IMAGE]},
                  {"role": "assistant", "content": [{"type": "text", "text": "A drum."}]}]},
    {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [IMAGE]}, SAID]},
]  # fmt: skip
REFUSED = [
    ("tool_calls", {"messages": [ASKED, {**CALLED, "tool_calls": [{"id": "call_1"}]}], "tools": TOOLS}),
    ("tool_calls", {"messages": [{**ASKED, "tool_calls": [CALL]}, SAID], "tools": TOOLS}),
    ("tool_call_id", {"messages": [ASKED, CALLED, {**GIVEN, "tool_call_id": "call_2"}, SAID], "tools": TOOLS}),
    ("content", {"messages": [ASKED, {"role": "assistant", "content": None}]}),
    ("content", {"messages": [{"role": "user", "content": None}, SAID]}),
    ("content", {"messages": [{"role": "user", "content": [{"type": "sound"}]}, SAID]}),
    ("image", {"messages": [ASKED, {"role": "assistant", "content": [IMAGE]}]}),
    ("image", {"messages": [{"role": "user", "content": [{**IMAGE, "image_url": {"url": "drum.png"}}]}, SAID]}),
    ("parallel_tool_calls", {"messages": [ASKED, CALLED], "tools": TOOLS, "parallel_tool_calls": "no"}),
]
OTHERS = [
    ("DPO", {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [SAID]}),
    ("DPO", {"prompt": "Drum?", "chosen": "A drum.", "rejected": "No."}),
    ("ShareGPT", {"conversations": [{"from": "human", "value": "Drum?"}, {"from": "gpt", "value": "A drum."}]}),
    ("Alpaca", {"instruction": "Describe a drum", "input": "", "output": "A drum."}),
    ("prompt and completion", {"prompt": "Drum ->", "completion": " a drum"}),
    ("Gemini", {"contents": [{"role": "user", "parts": [{"text": "Drum?"}]}]}),
    ("list of 1 examples", [{"messages": [ASKED, SAID]}]),
]


def found_in(folder, values, format="openai", head=b""):
    path = folder / "train.jsonl"
    path.write_bytes(head + b"".join(dumped(value) + b"\n" for value in values))
    findings, lines = lint.of_file(str(path), format, MODEL)
    assert lines == len(values)
    return [f for f in findings if f.line]


def test_what_a_provider_takes_is_taken_and_the_rest_is_named(tmp_path):
    assert found_in(tmp_path, TAKEN) == []
    assert found_in(tmp_path, TAKEN, head=b"\xef\xbb\xbf") == []  # as Azure wants its files
    found = found_in(tmp_path, [value for _, value in REFUSED])
    assert [(f.line, f.rule, f.level) for f in found] == [(n, rule, "error") for n, (rule, _) in enumerate(REFUSED, 1)]
    named = found_in(tmp_path, [value for _, value in OTHERS])
    assert [f.line for f in named] == list(range(1, len(OTHERS) + 1))
    assert all(word in f.message for f, (word, _) in zip(named, OTHERS, strict=True))
    parts = [{"fileData": {"mimeType": "image/png", "fileUri": "gs://shop/drum.png"}}, {"text": "What is it?"}]
    called = {"functionCall": {"name": "weather", "args": {}}}
    gemini = [{"contents": [{"role": "user", "parts": parts}, {"role": "model", "parts": [called]}]}]
    assert found_in(tmp_path, gemini, "gemini") == []


def test_fix_writes_the_good_lines_of_a_file_beside_it_and_findings_name_their_file(tmp_path):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(b"".join(dumped(example(n)) + b"\n" for n in range(60)))
    bad.write_bytes(b"\xef\xbb\xbf" + good.read_bytes() + b'{"messages": 7}\r\n' + dumped(example(99)))
    told = check.of_files([str(good), str(bad)], None, fix=True)
    assert {(f.file, f.line) for f in told.findings} == {(str(bad), 61)}
    assert (told.examples, told.quarantined, told.fixed) == (122, 1, (str(tmp_path / "bad-fixed.jsonl"),))
    assert len((tmp_path / "bad-fixed.jsonl").read_bytes().splitlines()) == 61
    (row,) = (tmp_path / "bad-fixed.quarantine.jsonl").read_text().splitlines()
    assert json.loads(row)["line"] == 61
    with pytest.raises(ExportError, match="no such file"):
        check.of_files([str(tmp_path / "none.jsonl")], None, fix=False)


def test_fix_puts_errors_into_quarantine_and_every_line_is_somewhere(tmp_path):
    lines = planted()
    found = lint.of_export(export(tmp_path, lines), MODEL, fix=True)
    kept = Path(found.export.uri).read_bytes().splitlines()
    quarantined = [json.loads(line) for line in Path(found.quarantine_uri).read_text().splitlines()]
    bad = [3 * n + 3 for n, (rule, _) in enumerate(PLANTED) if rule not in WARNINGS]
    assert [row["line"] for row in quarantined] == bad and found.bad == len(bad)
    assert [row["uid"] for row in quarantined] == [f"U{line - 1}" for line in bad]
    assert len(kept) + len(quarantined) == len(lines) and len(kept) == found.export.examples
    assert kept == [line for n, line in enumerate(lines, 1) if n not in bad]
    assert len(lint.uids(found.export)) == len(kept)
    again = lint.of_export(found.export, MODEL, fix=True)
    assert again.bad == 0 and again.export.tokens == found.export.tokens
    assert found.export.digest not in ("d", again.findings)


@pytest.mark.parametrize(
    ("many", "told"),
    [(9, ("examples", "error")), (49, ("examples", "warning")), (50, None)],
)
def test_the_number_of_examples_is_looked_at(tmp_path, many, told):
    found = lint.of_export(export(tmp_path, clean(many)), MODEL, fix=False)
    assert [(f.rule, f.level) for f in found.findings] == ([told] if told else [])


def test_a_holdout_may_be_small(tmp_path):
    assert lint.of_export(export(tmp_path, clean(3), "holdout"), MODEL, fix=False).findings == ()


def test_a_held_out_question_that_is_trained_on_is_an_overlap_with_its_line(tmp_path):
    train = export(tmp_path, clean(60))
    holdout = export(tmp_path, [dumped(example(n)) for n in (100, 7, 101, 9)], "holdout")
    assert [(f.rule, f.line, f.uid) for f in lint.of_link([train], [holdout], 3)] == [("overlap", 2, "U1")]
    assert [f.line for f in lint.of_link([train], [holdout], 4)] == [2, 4]
    assert lint.of_link([holdout], [train], 5) == []


GEMINI = {"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        (GEMINI, set()),
        (GEMINI | {"systemInstruction": {"role": "system", "parts": [{"text": "Act"}]}}, set()),
        (GEMINI | {"messages": []}, {"key"}),
        ({"contents": []}, {"messages"}),
        ({"contents": [*GEMINI["contents"], GEMINI["contents"][0]]}, {"last turn"}),
        ({"contents": [GEMINI["contents"][0], {"role": "assistant", "parts": [{"text": "a"}]}]}, {"role"}),
        ({"contents": [GEMINI["contents"][0], {"role": "model", "parts": "a"}]}, {"content"}),
        ({"contents": [GEMINI["contents"][0], {"role": "model", "parts": [{"text": " "}]}]}, {"empty answer"}),
        (GEMINI | {"systemInstruction": "Act"}, {"content"}),
    ],
)
def test_geminis_lines_have_the_same_rules(tmp_path, value, rules):
    lines = [
        dumped(GEMINI | {"contents": [{"role": "user", "parts": [{"text": f"q{n}"}]}, GEMINI["contents"][1]]})
        for n in range(100)
    ]
    found = lint.of_export(export(tmp_path, [*lines, dumped(value)], format="gemini"), "gemini-3.5-flash", fix=False)
    assert {f.rule for f in found.findings} == rules and {f.line for f in found.findings} <= {101}


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        ({"prompt": "<|im_start|>user\nq", "completion": "a<|im_end|>"}, set()),
        ({"prompt": "q", "completion": ""}, {"empty answer"}),
        ({"prompt": "q"}, {"content"}),
        ({"prompt": "q", "completion": "a\x01"}, {"control character"}),
    ],
)
def test_local_lines_have_them_too_but_for_their_own_special_tokens(tmp_path, value, rules):
    found = lint.of_export(export(tmp_path, [dumped(value)], format="chat"), "base", fix=False)
    assert {f.rule for f in found.findings} == rules


def test_of_many_findings_the_first_of_each_rule_are_kept_and_all_are_counted(tmp_path):
    lines = [dumped(example(n, said="")) for n in range(1_500)] + [b"{"]
    found = lint.of_export(export(tmp_path, lines), MODEL, fix=False)
    assert found.counts == {"empty answer": 1_500, "JSON": 1}
    assert {f.rule for f in found.findings} == {"empty answer", "JSON"} and len(found.findings) <= lint.SHOWN


def test_a_file_of_somebody_else_is_looked_at_too(tmp_path):
    file = tmp_path / "mine.json"
    file.write_bytes(b"\n".join([*clean(50), b"{}"]))
    found, lines = lint.of_file(str(file), "openai", MODEL)
    assert ([(f.line, f.rule) for f in found], lines) == ([(None, "name"), (51, "messages")], 51)
