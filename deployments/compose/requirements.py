"""Requirements: what an image installs, from pyproject.toml. `python requirements.py NAME,… [pyproject.toml]`

`project` is what the package itself depends on; other names are extras and dependency groups. It imports no package, so
that it runs before there is any.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def requirements(names: list[str], file: Path) -> list[str]:
    """The requirements of all names, as pip reads them, each once. Raises KeyError for a name that is not there."""
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    project = read["project"]
    known = {**read["dependency-groups"], **project["optional-dependencies"], "project": project["dependencies"]}
    wanted: dict[str, None] = {}
    for name in names:
        for one in known[name]:
            own = re.fullmatch(re.escape(project["name"]) + r"\[(.+)\]", one)  # an extra that takes another
            wanted |= dict.fromkeys(requirements(own[1].split(","), file) if own else [one])
    return list(wanted)


if __name__ == "__main__":
    print(*requirements(sys.argv[1].split(","), Path((sys.argv[2:] or ["pyproject.toml"])[0])), sep="\n")
