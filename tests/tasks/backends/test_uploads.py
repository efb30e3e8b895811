"""What is sent to a provider: every line once, under a name that tells its content."""

from __future__ import annotations

import pytest

from tasks.backends import uploads
from tasks.backends.openai.backend import OpenAI
from tasks.core import store
from tasks.recipe.tuning import OpenAITune
from tests.kit.links import made


@pytest.fixture
def link(tmp_path):
    def export(of, name, text):
        (tmp_path / name).write_text(text)
        written = str(tmp_path / name)
        return of.model_copy(update={"uri": written, "digest": store.file_digest(written)})

    plain = made()
    return plain.model_copy(
        update={
            "train": (export(plain.train[0], "a", "1\n2\n"), export(plain.train[0], "b", "3\n")),
            "holdout": (export(plain.holdout[0], "c", "4\n5\n"), export(plain.holdout[0], "d", "6\n7\n8\n")),
        }
    )


def read(upload):
    with upload.opened() as stream:
        return stream.read()


def test_all_training_lines_are_sent_and_as_many_heldout_ones_as_asked_for(link):
    training, heldout = uploads.of_link(link, 100)
    assert read(training) == b"1\n2\n3\n"
    assert read(heldout) == b"4\n5\n6\n7\n"  # evaluate.heldout_rows is 4
    assert read(uploads.of_link(link, 3)[1]) == b"4\n5\n6\n"


def test_azure_gets_files_that_begin_with_a_byte_order_mark_and_nobody_else_does(link):
    training, heldout = uploads.of_link(link, 100, mark=True)
    assert read(training).decode("utf-8-sig") == "1\n2\n3\n"
    assert read(training)[:3] == read(heldout)[:3] == b"\xef\xbb\xbf"
    assert training.name == uploads.of_link(link, 100)[0].name
    azure = {"deploy": {"subscription": "s", "resource_group": "g", "account": "a"}}
    for more, wanted in (
        ({"base_url": "https://shop.openai.azure.com/openai/v1"}, True),
        (azure, True),
        ({}, False),
        ({"base_url": "https://azure.com.example/v1"}, False),
    ):
        tune = OpenAITune.model_validate({"base_model": "gpt-4o-mini-2024-07-18", **more})
        assert OpenAI(tune).azure is wanted


def test_the_name_is_the_same_for_the_same_content_only(link):
    training, heldout = uploads.of_link(link, 100)
    assert training.name == uploads.of_link(link, 3)[0].name
    changed = link.model_copy(update={"train": link.train[:1]})
    names = {training.name, heldout.name, uploads.of_link(link, 3)[1].name, uploads.of_link(changed, 3)[0].name}
    assert len(names) == 4 and all(name.endswith(".jsonl") for name in names)
