"""Audit: known holes in the pinned packages, by pip-audit. `make audit` runs it; it informs, and never fails or hangs.

It asks the package index's advisory service. Where that is out of reach, it says that nothing was looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TOOL = "pip-audit==2.10.1"  # in an environment of its own: nothing here needs what it brings
PATIENCE = 120  # seconds


def told(found: dict[str, Any]) -> list[str]:
    """What pip-audit found, line by line; first how much of it was looked at."""
    packages = found["dependencies"]
    seen = [p for p in packages if "skip_reason" not in p]
    holes = [p for p in seen if p["vulns"]]
    lines = [f"audit: {len(seen)} of {len(packages)} pinned packages looked up, {len(holes)} with known holes"]
    for package in holes:
        for hole in package["vulns"]:
            fixed = ", ".join(hole["fix_versions"]) or "no release"
            lines.append(f"  {package['name']} {package['version']}  {hole['id']}  fixed in {fixed}")
    if packages and not seen:
        lines.append("audit: the advisory service knows none of them or is out of reach: this says nothing about holes")
    return lines


def main() -> None:
    """Look up every line of constraints.txt."""
    pins = Path(__file__).parent.parent / "constraints.txt"
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "tool", "run", TOOL, "-r", str(pins), "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, "--timeout", "10", "--progress-spinner", "off"], capture_output=True, text=True, timeout=PATIENCE
        )
        lines = told(json.loads(done.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        lines = [f"audit: not done ({type(error).__name__}): no network, or no uv; this says nothing about holes"]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
