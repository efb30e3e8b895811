"""Named recipes: their files and what each is for, read without the models that check a recipe."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "deployments" / "recipes"


def names() -> list[str]:
    """Names of the recipes that come with shardtune."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def described() -> dict[str, str]:
    """The description of each named recipe, as its file gives it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C it takes a tenth of the time
    return {name: yaml.load((FOLDER / f"{name}.yaml").read_text("utf-8"), loader)["description"] for name in names()}
