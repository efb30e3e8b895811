"""Engines: a base model with a trainable adapter, loaded by Unsloth or by transformers + bitsandbytes + peft."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.backends.local import distributed
from tasks.backends.local.jobs import LocalLink
from tasks.core import imports
from tasks.core.errors import BackendError
from tasks.core.models import Finding
from tasks.recipe.tuning import LocalTune

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "unsloth", "unsloth_zoo")
# Functions that look once for a package that `lean` hides.
ASKED = {
    "peft.import_utils": ("is_bnb_available", "is_bnb_4bit_available"),
    "transformers.utils.import_utils": ("is_bitsandbytes_available", "is_scipy_available", "is_sklearn_available"),
}
UNSLOTH_ON_CPU = (2026, 10, 9)  # the first that imports, and trains, without a GPU


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def gpus() -> int:
    """How many GPUs this machine shows."""
    import torch

    return torch.cuda.device_count()


def apart(tune: LocalTune) -> bool:
    """Whether a model is asked in a process of its own.

    On a GPU, which gives memory back for certain only when a process ends, and a trainer may be next to need it; and
    where the model brings code, which must not run in a process that holds a flow's secrets. Else in this one: a new
    interpreter with torch costs more than most answers. Nothing here is patched by Unsloth, which only trainers import.
    """
    return tune.trust_remote_code or has_gpu()


@contextmanager
def lean(tune: LocalTune) -> Iterator[None]:
    """Imports inside find no package that a model of this tuning does without: they cost three CPU seconds.

    transformers imports scikit-learn for a way of decoding, and SciPy for losses of pictures: nobody here uses either.
    peft imports bitsandbytes, which brings torch's compiler, for layers in 4 bits.
    """
    try:
        with imports.without("sklearn", "scipy", *["bitsandbytes"] * (not tune.load_in_4bit)):
            yield
    finally:
        for module, asked in ASKED.items():  # they remember that there was none, and a later model may be in 4 bits
            for name in asked if module in sys.modules else ():
                getattr(sys.modules[module], name).cache_clear()


def quiet() -> None:
    """This process is a person's terminal, or a server's log: libraries that load models say errors only."""
    from transformers.utils import logging as theirs

    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def precision() -> Any:
    """The torch dtype to compute in: bfloat16 where the hardware has it; else float16 on a GPU, float32 on a CPU."""
    import torch

    if has_gpu():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what training does, of those that are installed."""
    installed = {}
    for name in LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def findings(engine: str, load_in_4bit: bool) -> list[Finding]:
    """What speaks against the engine on this machine; empty when nothing does."""
    needed = (
        ["torch", "transformers", "trl", "peft"] + ["bitsandbytes"] * load_in_4bit + ["unsloth"] * (engine == "unsloth")
    )
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        extra = "unsloth" if missing == ["unsloth"] else "local"
        message = f"engine {engine!r} needs {', '.join(missing)}: run `pip install 'shardtune[{extra}]'`"
        return [Finding(rule="engine", level="error", message=message)]
    if engine == "unsloth" and not has_gpu():
        version = importlib.metadata.version("unsloth")
        numbers = tuple(int(n) for n in version.split(".")[:3] if n.isdigit())
        if numbers < UNSLOTH_ON_CPU:
            message = (
                f"unsloth {version} does not train without a GPU: install 2026.10.9 or newer, "
                "or set tune.engine=transformers"
            )
            return [Finding(rule="engine", level="error", message=message)]
    return []


def load(link: LocalLink, path: str, engine: str) -> Any:
    """The base at `path` with a trainable adapter: a new one made from the link's seed, or the parent's.

    For engine `unsloth` the caller must have imported unsloth before anything else in this process.
    """
    from transformers import set_seed

    set_seed(link.seed)
    model = _unsloth(link, path) if engine == "unsloth" else _transformers(link, path)
    if link.parent:
        _continue(model, link.parent)
    return model


def _transformers(link: LocalLink, path: str) -> Any:
    from peft import LoraConfig, get_peft_model

    model = base(path, link.tune.load_in_4bit, link.tune.trust_remote_code)
    lora = link.tune.lora
    if link.tune.gradient_checkpointing:
        model.config.use_cache = False
    shape = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets(model, lora.target_modules),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, shape)


def base(path: str, load_in_4bit: bool, trust_remote_code: bool, dtype: Any = None) -> Any:
    """The bare base model, in NF4 or in `dtype` (the precision of this machine), on the GPU where there is one."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {"dtype": dtype or precision(), "trust_remote_code": trust_remote_code}
    plain(path, "model")
    if load_in_4bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=precision(),
        )
    if has_gpu():
        options["device_map"] = {"": distributed.device()}
    try:
        return AutoModelForCausalLM.from_pretrained(path, **options)
    except (OSError, ValueError) as error:
        raise BackendError(f"base model {path!r} cannot be loaded: {error}") from error


def plain(path: str, stem: str) -> None:
    """BackendError where the folder `path` has no weights as safetensors: other files are pickles, which run code.

    A name on the hub is left to transformers, which prefers safetensors and reads others without running them.
    """
    folder = Path(path)
    if folder.is_dir() and not list(folder.glob(f"{stem}*.safetensors")):
        there = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"))
        raise BackendError(f"{path!r} holds no {stem}.safetensors (it has {there!r}): save it again as safetensors")


def _unsloth(link: LocalLink, path: str) -> Any:
    from unsloth import FastLanguageModel

    tune = link.tune
    plain(path, "model")
    checkpointing: Any = "unsloth" if tune.gradient_checkpointing else False
    try:
        model, _ = FastLanguageModel.from_pretrained(
            model_name=path,
            max_seq_length=tune.max_length,
            dtype=precision(),
            load_in_4bit=tune.load_in_4bit,
            trust_remote_code=tune.trust_remote_code,
            use_gradient_checkpointing=checkpointing,
        )
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise BackendError(f"unsloth cannot load {path!r} ({error}): set tune.engine=transformers") from error
    return FastLanguageModel.get_peft_model(
        model,
        r=tune.lora.r,
        lora_alpha=tune.lora.alpha,
        lora_dropout=tune.lora.dropout,
        target_modules=targets(model, tune.lora.target_modules),
        use_gradient_checkpointing=checkpointing,
        random_state=link.seed,
        max_seq_length=tune.max_length,
    )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Dropout off for a while. bitsandbytes' 4-bit layers have none, and are kept in training mode: on a CPU, a pass in
    evaluation mode packs their weights for good into a layout through which no gradient flows back.
    """
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    for module, _ in before:
        if type(module).__name__ == "Linear4bit":
            module.training = True
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def targets(model: Any, wanted: tuple[str, ...] | str) -> list[str]:
    """Names of the linear layers that are adapted: those asked for, or every one but the head."""
    import torch

    head = model.get_output_embeddings()
    # bitsandbytes' 4-bit layers are Linear too.
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    linear = {name.rpartition(".")[2] for name, _ in layers}
    if wanted == "auto":
        return sorted(linear)
    if unknown := sorted(set(wanted) - linear):
        raise BackendError(f"tune.lora.target_modules names {unknown!r}; this model has {sorted(linear)!r}")
    return sorted(wanted)


def _continue(model: Any, parent: str) -> None:
    """Take over the weights of the parent's adapter, which must have the same shape."""
    from peft import PeftConfig, load_peft_weights, set_peft_model_state_dict

    if not (Path(parent) / "adapter_config.json").exists():
        raise BackendError(f"parent model {parent!r} is no adapter on this machine: check the chain's last model")
    plain(parent, "adapter_model")
    theirs, ours = PeftConfig.from_pretrained(parent), model.peft_config["default"]
    mine, other = ((c.r, c.lora_alpha, sorted(c.target_modules)) for c in (ours, theirs))
    if mine != other:
        raise BackendError(f"parent adapter {parent!r} has r, alpha, targets {other!r}, not {mine!r}: make them equal")
    report: Any = set_peft_model_state_dict(model, load_peft_weights(parent, device="cpu"))
    if report.unexpected_keys:
        raise BackendError(f"parent adapter {parent!r} does not fit the base model: {report.unexpected_keys[:3]!r}")
