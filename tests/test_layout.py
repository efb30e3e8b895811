"""The layout holds: libraries know no orchestrator, imports run one way, and importing the packages loads no SDK."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
TASKS = TOP / "tasks"
ORCHESTRATOR, RECORD = TASKS / "orchestrator", TASKS / "record"  # the two folders that may know Prefect, or MLflow
LIBRARIES = sorted(p for p in TASKS.iterdir() if (p / "__init__.py").exists() and p not in (ORCHESTRATOR, RECORD))
SECRETS = "tasks.orchestrator.secrets"
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
# Imported by nothing but the process that trains, or by the backend whose SDK they need.
APART = [TASKS / "backends" / name for name in ("local/training", "openai", "gemini")]


def modules(*folders: Path) -> Iterator[Path]:
    """Every module under these folders."""
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")


OURS = {name_of(p): p for p in modules(TOP / "tasks", TOP / "flows", TOP / "deployments")}


def imports(path: Path, lazy: bool = True) -> set[str]:
    """Full names of what `path` imports: anywhere in the file, or only when it is imported itself."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in OURS else node.module for a in node.names
            }
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("folder", LIBRARIES, ids=lambda p: p.name)
def test_a_library_imports_neither_prefect_nor_mlflow_nor_what_does(folder):
    """`core.settings` alone reaches for the orchestrator, inside a function, when it is asked for a secret."""
    guilty = {name_of(p): roots(p) & {"prefect", "mlflow", "flows", "deployments"} for p in modules(folder)}
    assert guilty, f"no module in {folder}"
    assert {p: names for p, names in guilty.items() if names} == {}
    outside = {name_of(p) for p in [*TASKS.glob("*.py"), *modules(ORCHESTRATOR, RECORD)]} - {"tasks"}
    reached = {name_of(p): imports(p) & outside for p in modules(folder)}
    assert {p: names for p, names in reached.items() if names} in ({}, {"tasks.core.settings": {SECRETS}})


def test_only_record_knows_mlflow():
    knows = {p for p in modules(TASKS, TOP / "flows") if "mlflow" in roots(p)}
    assert knows and all(p.is_relative_to(RECORD) for p in knows)


def test_core_stands_alone():
    folders = {f"tasks.{p.name}" for p in [*LIBRARIES, ORCHESTRATOR, RECORD]} - {"tasks.core"}
    for path in modules(TASKS / "core"):
        assert not {n for n in imports(path, lazy=False) if ".".join(n.split(".")[:2]) in folders}, path


def test_no_module_imports_itself_in_a_circle():
    graph = {name: {n for n in imports(path, lazy=False) if n in OURS} - {name} for name, path in OURS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_importing_the_packages_loads_no_sdk():
    apart = [p for p in modules(*LIBRARIES) if not any(p.is_relative_to(folder) for folder in APART)]
    names = [name_of(p) for p in apart]
    script = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=True)
    assert HEAVY & set(loaded.stdout.split()) == set()


@pytest.mark.parametrize("folder", APART, ids=lambda p: p.name)
def test_what_stands_apart_is_imported_by_nobody_when_imported(folder):
    """Modules elsewhere import it inside the function that needs it."""
    prefix = f"{name_of(folder)}."
    beside = [p for p in modules(*LIBRARIES) if not p.is_relative_to(folder)]
    assert {name_of(p) for p in beside if any(n.startswith(prefix) for n in imports(p, lazy=False))} == set()


def test_every_module_says_what_it_is_for():
    for folder in ("flows", "tasks", "deployments", "tests"):
        for path in (TOP / folder).rglob("*.py"):
            text = path.read_text()
            assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def takes(path: Path, name: str) -> list[str]:
    """Functions of a module with a parameter whose type names the class `name`."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    types = {f.name: [a.annotation for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)] for f in functions}
    return [f for f, parts in types.items() if any(name in names_in(part) for part in parts if part)]


def gives(path: Path, name: str) -> list[str]:
    """Functions of a module whose result is, or holds as a field, an object of the class `name`."""
    tree = ast.parse(path.read_text())
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    holders = {name} | {c.name for c in classes for n in c.body if isinstance(n, ast.AnnAssign) and name in names_in(n)}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.returns]
    return [f.name for f in functions if f.returns and holders & names_in(f.returns)]


def names_in(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def reached(name: str) -> set[str]:
    """The modules of ours that importing a module loads, itself included, and what they import when they run."""
    seen, waiting = set[str](), [name]
    while waiting:
        if (one := waiting.pop()) not in seen:
            seen.add(one)
            waiting += [n for n in imports(OURS[one]) if n in OURS]
    return seen


def test_a_library_takes_the_fields_of_a_recipe_that_it_needs():
    """The ledger keeps the recipe of a run, a server opens what one names. Nobody else is handed a whole one."""
    folders = [p for p in modules(*LIBRARIES, ORCHESTRATOR, RECORD) if not p.is_relative_to(TASKS / "recipe")]
    assert {name_of(p) for p in folders if takes(p, "Recipe")} <= {"tasks.record.ledger", "tasks.serving.models"}


def test_the_recipe_of_finetune_stays_at_the_edge():
    on_the_way = [OURS[n] for n in reached("flows.finetune") if n.partition(".")[0] in ("flows", "tasks")]
    handed = {name_of(p) for p in on_the_way if takes(p, "Recipe")} - {"tasks.recipe.loader"}
    assert len(handed) <= 12, sorted(handed)
    back = {f"{name_of(p)}.{f}" for p in on_the_way for f in gives(p, "Recipe") if "recipe.loader" not in name_of(p)}
    assert len(back) <= 8, sorted(back)


# Names that still have two meanings, most of them one in `tasks/answers`: rename these, and add none.
CLASHES = {"Checked", "Match", "Quote", "Quoted", "Row"}


def test_a_class_name_has_one_meaning():
    places: dict[str, set[str]] = {}
    for name, path in OURS.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, set()).add(name)
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in CLASHES} == {}
