"""Each form of a model really tuned: what is written answers as the adapter does, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tasks.catalogue import card as signing
from tasks.core.errors import ExportError
from tasks.core.models import Message
from tasks.examples.templates import Rendering, load_tokenizer, render
from tasks.portable import exporting, readback
from tasks.portable.readback import PROMPTS


def test_a_merged_model_opens_alone_answers_as_its_adapter_and_renders_as_it_was_tuned(tuned, tmp_path):
    facts, adapter = tuned("llama", chat=False)
    done = exporting.export("champion", facts, adapter, "merged", str(tmp_path / "out"))
    (check,) = done.checks
    assert check.same == check.asked == PROMPTS and check.moved <= check.bound
    there = tmp_path / "out"
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= set(done.files)
    assert json.loads((there / "config.json").read_text())["dtype"] == "float16"
    talk = (Message(role="system", content="Be short."), Message(role="user", content="What is the Drum 3 product?"))
    base = load_tokenizer(Rendering(template="alpaca", tokenizer=facts.tune.base_model, max_length=320))
    made = load_tokenizer(Rendering(template="chat", tokenizer=str(there), max_length=320))
    shown = made.apply_chat_template([t.model_dump() for t in talk], tokenize=False, add_generation_prompt=True)
    assert shown == render(talk, "alpaca", base)


def test_an_adapter_names_its_base_as_any_machine_finds_it(tuned, tmp_path):
    facts, adapter = tuned()
    done = exporting.export("champion", facts, adapter, "adapter", str(tmp_path / "out"))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == facts.tune.base_model  # of a folder there is no other name
    assert done.checks[0].same == done.checks[0].asked and done.bytes > 0


def test_what_was_tuned_in_4_bits_is_merged_into_what_it_was_tuned_on(tuned, tmp_path):
    facts, adapter = tuned("llama", load_in_4bit=True)
    (check,) = exporting.export("champion", facts, adapter, "merged", str(tmp_path / "out")).checks
    # Answers of random weights part for good where two tokens are as likely; what is predicted does not.
    assert check.moved < 0.001


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_gguf_files_answer_as_the_adapter(tuned, tmp_path, architecture):
    facts, adapter = tuned(architecture)
    done = exporting.export("champion", facts, adapter, "gguf", f"file://{tmp_path}/out")
    exact, small = done.checks
    assert (exact.form, exact.same, small.form) == ("f16", exact.asked, "q8_0")
    assert exact.moved < 0.001 and 0 < small.moved <= small.bound and small.bytes < exact.bytes
    assert "FROM ./model-f16.gguf" in (tmp_path / "out" / "Modelfile").read_text()


def test_an_architecture_that_cannot_be_written_is_named_and_nothing_is_left(tuned, tmp_path):
    facts, adapter = tuned("opt")
    with pytest.raises(ExportError, match="OPTForCausalLM"):
        exporting.export("champion", facts, adapter, "gguf", str(tmp_path / "out"))
    assert [one.name for one in tmp_path.iterdir() if "out" in one.name] == []


def test_what_is_not_the_same_model_is_not_exported(tuned, tmp_path, monkeypatch):
    facts, adapter = tuned()
    monkeypatch.setitem(readback.BOUNDS, "q8_0", 1e-9)
    with pytest.raises(ExportError, match="nothing was exported"):
        exporting.export("champion", facts, adapter, "gguf", str(tmp_path / "out"))
    assert [one.name for one in tmp_path.iterdir() if "out" in one.name] == []


def test_the_page_says_what_the_model_is_and_an_export_replaces_only_an_export(tuned, tmp_path):
    facts, adapter = tuned()
    place = tmp_path / "out"
    for _ in range(2):
        exporting.export("champion", facts, adapter, "adapter", str(place))
    page = (place / "README.md").read_text()
    header = yaml.safe_load(page.split("---")[1])
    assert header == {
        "license": "apache-2.0",
        "base_model": "owner/tiny",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["shardtune", "lora"],
    }
    (link,) = facts.links
    for wanted in (facts.verdicts[0], "a" * 64, link.exports[0].digest, "4.0000 before, 3.5000 after", "## Not for"):
        assert wanted in page
    assert signing.is_ours(page.encode()) and str(tmp_path) not in page
    (place / "README.md").write_text("mine")
    with pytest.raises(ExportError, match="did not export"):
        exporting.export("champion", facts, adapter, "merged", str(place))


def test_a_uri_is_written_to_and_read_back(tuned, tmp_path):
    facts, adapter = tuned()
    done = exporting.export("champion", facts, adapter, "adapter", "memory://models/tiny")
    import fsspec

    held = fsspec.filesystem("memory")
    assert sorted(Path(name).name for name in held.ls("/models/tiny", detail=False)) == sorted(done.files)
    assert held.cat("/models/tiny/adapter_model.safetensors") == Path(adapter, "adapter_model.safetensors").read_bytes()


def test_a_base_that_has_changed_is_refused(tuned, tmp_path):
    facts, adapter = tuned()
    with pytest.raises(ExportError, match="changed since"):
        exporting.export(
            "x", facts.model_copy(update={"base_digest": "0" * 32}), adapter, "merged", str(tmp_path / "o")
        )
