"""Lines: examples as JSON lines. Whole columns by Arrow's kernels where a style allows it, row by row otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import ExportError
from tasks.core.models import Format, Message, StyleName
from tasks.examples.grounding import Row, Shelf
from tasks.examples.styles import STYLES, Style, answer, conversation, example
from tasks.examples.templates import Rendering, completion, load_tokenizer, render
from tasks.examples.tokens import Text, lengths, reader

MARK = "\u241ftitle\u241f"  # stands for the title where a template is rendered once for all rows


def inside(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def chat(rows: pa.RecordBatch, style: Style, format: Format) -> memoryview:
    """OpenAI's or Gemini's chat lines for an ungrounded style, put together as whole columns."""
    before, after = map(inside, style.question)
    closing, system = inside(style.closing), inside(style.system or "")
    if format == "openai":
        first = f'{{"role":"system","content":"{system}"}},' if system else ""
        head = f'{{"messages":[{first}{{"role":"user","content":"{before}'
        middle, tail = f'{after}"}},{{"role":"assistant","content":"', f'{closing}"}}]}}\n'
    else:
        first = f'"systemInstruction":{{"parts":[{{"text":"{system}"}}]}},' if system else ""
        head = f'{{{first}"contents":[{{"role":"user","parts":[{{"text":"{before}'
        middle, tail = f'{after}"}}]}},{{"role":"model","parts":[{{"text":"', f'{closing}"}}]}}]}}\n'
    # The strings of a column lie one after the other in one buffer: that buffer is the file.
    return _bytes(
        pc.binary_join_element_wise(head, _escaped(rows["title"]), middle, _escaped(rows["content"]), tail, "")
    )


def _escaped(text: pa.Array) -> pa.Array:
    """JSON-escape a column. Clean text has only quotes and backslashes to escape; the rest takes the slow way."""
    if (np.frombuffer(_bytes(text), np.uint8) < 32).any():
        return pa.array([inside(value) for value in text.to_pylist()], text.type)
    return pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')


def _bytes(text: pa.Array) -> memoryview:
    """All strings of a column, without anything between them."""
    offsets = np.frombuffer(text.buffers()[1], dtype="i8" if pa.types.is_large_string(text.type) else "i4")
    data = memoryview(text.buffers()[2] or b"")
    return data[int(offsets[text.offset]) : int(offsets[text.offset + len(text)])]


def grounded(all_rows: Sequence[Row], numbers: Sequence[int], name: StyleName, format: Format) -> bytes:
    """Chat lines whose prompts list rows, one by one."""
    shelf, written = Shelf(all_rows), []
    for number in numbers:
        row = all_rows[number]
        turns, said = example(name, row, shelf.shown(number), shelf.missing(number))
        written.append(_dumped(line(turns, said, format)))
    return "".join(written).encode()


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def line(turns: Sequence[Message], said: str, format: Format) -> dict[str, Any]:
    """One example of a provider's format, before it is written."""
    if format == "openai":
        return {"messages": [*(m.model_dump() for m in turns), {"role": "assistant", "content": said}]}
    system = [{"systemInstruction": {"parts": [{"text": m.content}]}} for m in turns if m.role == "system"]
    asked = [{"role": "user", "parts": [{"text": m.content}]} for m in turns if m.role == "user"]
    return {**(system[0] if system else {}), "contents": [*asked, {"role": "model", "parts": [{"text": said}]}]}


def rendered(
    all_rows: Sequence[Row], numbers: Sequence[int], name: StyleName, format: Format, rendering: Rendering
) -> tuple[bytes, list[int]]:
    """Prompt and completion as the local model reads them, and the number of tokens of each example.

    `literal` stands in a line where one of them spells a control token: the places, in characters, that are text.
    """
    tokenizer = load_tokenizer(rendering)
    shelf = Shelf(all_rows) if STYLES[name].grounded else None
    if shelf:
        both = [example(name, all_rows[n], shelf.shown(n), shelf.missing(n)) for n in numbers]
        talks, said = [turns for turns, _ in both], [told for _, told in both]
        prompts = [render(turns, rendering.template, tokenizer) for turns in talks]
    else:
        talks = [conversation(name, all_rows[n]["title"]) for n in numbers]
        said = [answer(name, all_rows[n]) for n in numbers]
        prompts = _prompts(all_rows, numbers, name, rendering, tokenizer)
    completions = [completion(text, rendering.template, tokenizer) for text in said]
    written = []
    for turns, answered, prompt, closed in zip(talks, said, prompts, completions, strict=True):
        written.append(_dumped(_local(prompt, closed, turns if format == "alpaca" else None, answered)))
    return "".join(written).encode(), lengths(prompts, completions, tokenizer)


def _local(prompt: Text, closed: Text, turns: Sequence[Message] | None, said: str) -> dict[str, Any]:
    """One example of a local model, before it is written; `turns` where the format names them (Alpaca)."""
    line: dict[str, Any] = {"prompt": prompt, "completion": closed}
    if prompt.literal or closed.literal:
        line["literal"] = {"prompt": prompt.literal, "completion": closed.literal}
    if turns is not None:
        system, asked = (turns[0].content, turns[1].content) if len(turns) > 1 else (turns[0].content, "")
        line |= {"instruction": system, "input": asked, "output": said}
    return line


def written(
    talks: Sequence[tuple[Sequence[Message], str]], format: Format, rendering: Rendering | None
) -> tuple[bytes, list[int | None]]:
    """Conversations and what is to be said in each, as lines of a format; with tokens where a tokenizer is known."""
    if rendering is None or format not in ("chat", "alpaca"):
        return "".join(_dumped(line(turns, said, format)) for turns, said in talks).encode(), [None] * len(talks)
    tokenizer = load_tokenizer(rendering)
    prompts = [render(turns, rendering.template, tokenizer) for turns, _ in talks]
    closed = [completion(said, rendering.template, tokenizer) for _, said in talks]
    made = [
        _dumped(_local(prompt, end, turns if format == "alpaca" else None, said))
        for prompt, end, (turns, said) in zip(prompts, closed, talks, strict=True)
    ]
    return "".join(made).encode(), list(lengths(prompts, closed, tokenizer))


def read(value: dict[str, Any]) -> tuple[Text, Text]:
    """Prompt and completion of a line that `rendered` wrote."""
    literal = value.get("literal", {})
    prompt, closed = (Text.of(value[name], literal.get(name, ())) for name in ("prompt", "completion"))
    return prompt, closed


def _prompts(
    all_rows: Sequence[Row], numbers: Sequence[int], name: StyleName, rendering: Rendering, tokenizer: Any
) -> list[Text]:
    """Every prompt of a style that shows no rows.

    The template runs once for all rows where the first of them prove that nothing is lost by it.
    """

    def real(number: int) -> Text:
        return render(conversation(name, all_rows[number]["title"]), rendering.template, tokenizer)

    before, mark, after = render(conversation(name, MARK), rendering.template, tokenizer).partition(MARK)
    if not mark:
        raise ExportError(f"the template of {rendering.tokenizer!r} loses the question: choose tune.template = alpaca")
    quick = [Text(f"{before}{all_rows[n]['title']}{after}") for n in numbers]
    proven = all(real(n) == prompt for n, prompt in zip(numbers[:8], quick, strict=False))
    spelt = reader(tokenizer).text
    return [
        prompt if proven and not spelt(all_rows[n]["title"]).literal else real(n)
        for n, prompt in zip(numbers, quick, strict=True)
    ]
