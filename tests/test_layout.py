"""The house stands as described: nouns know no orchestrator, and importing the packages loads no SDK."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
VERBS = {
    "prepare.py",
    "runner.py",
    "links.py",
    "check.py",
    "tune.py",
    "evaluate.py",
    "answer.py",
    "compare.py",
    "forgetting.py",
    "vault.py",
    "results.py",
    "retrain.py",
    "resume.py",
    "pages.py",
    "runs.py",
    "status.py",
    "__init__.py",
}
NOUNS = ("catalogue", "examples", "backends", "answers")
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "unsloth",
    "bitsandbytes",
    "openai",
    "google.genai",
    "mlflow",
    "prefect",
}

# Imported by nothing but the process that trains.
TRAINER = {"sft.py", "batches.py", "feed.py", "measure.py", "watch.py"}
# Imported by nothing but the backend whose SDK they need.
REMOTE = {"openai.py", "refusals.py", "account.py", "standing.py", "prompting.py"}
REMOTE |= {"gemini.py", "vertex.py", "bucket.py", "generating.py", "stage.py"}


def imports(path: Path) -> set[str]:
    """Every module that `path` imports, at any depth of the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_imports_neither_prefect_nor_mlflow(noun):
    guilty = {str(p): imports(p) & {"prefect", "mlflow"} for p in (TOP / "tasks" / noun).rglob("*.py")}
    assert guilty, f"no module in tasks/{noun}"
    assert {p: names for p, names in guilty.items() if names} == {}


def test_only_record_knows_mlflow():
    modules = [p for folder in ("tasks", "flows") for p in (TOP / folder).rglob("*.py")]
    knows = {str(p.relative_to(TOP)) for p in modules if "mlflow" in imports(p)}
    assert knows and all(name.startswith("tasks/record/") for name in knows)


def test_importing_the_packages_loads_no_sdk():
    names = [
        ".".join(p.relative_to(TOP).with_suffix("").parts)
        for p in (TOP / "tasks").rglob("*.py")
        if p.name not in VERBS | TRAINER | REMOTE and p.parent.name != "record"
    ]
    script = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=True)
    assert HEAVY & set(loaded.stdout.split()) == set()


def test_every_module_says_what_it_is_for():
    for folder in ("flows", "tasks", "deployments", "tests"):
        for path in (TOP / folder).rglob("*.py"):
            text = path.read_text()
            assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
