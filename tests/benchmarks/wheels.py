"""Wheels for a GPU host with no package index: `python -m tests.benchmarks.wheels FOLDER`.

The host has torch, transformers, peft, pandas, pyarrow and what these bring; FOLDER gets the rest that the trainer and
the benchmark `tests.benchmarks.gpu` import, of the versions that `make install` pins. On the host:
`pip install --no-index --no-deps FOLDER/*.whl`. bitsandbytes keeps the library of one CUDA version only: all of them
are ten times as large.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 64 << 20
# Engines, and what they import.
ENGINES = (
    "unsloth unsloth-zoo tyro docstring-parser typeguard trl datasets dill multiprocess xxhash requests "
    "charset-normalizer urllib3 bitsandbytes"
)
# What our own modules import besides.
OURS = (
    "pydantic pydantic-core annotated-types typing-inspection typing-extensions msgspec cloudpickle ftfy wcwidth "
    "selectolax"
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_24_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheels go; wheels that lie there are replaced")
    parser.add_argument("--python", default="3.12", help="of the host (default 3.12)")
    parser.add_argument("--cuda", default="130", help="of the host's torch, without a dot (default 130)")
    options = parser.parse_args()
    pinned = pins()
    names = [*ENGINES.split(), *OURS.split()]
    if unknown := [name for name in names if name not in pinned]:
        raise SystemExit(f"neither constraints.txt nor the Makefile pins {unknown!r}: add them to constraints.txt")
    gather([f"{name}=={pinned[name]}" for name in names], options.folder, options.python)
    for wheel in options.folder.glob("bitsandbytes-*.whl"):
        strip(wheel, options.cuda)
    sizes = {wheel.name: wheel.stat().st_size for wheel in sorted(options.folder.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size / 1e6:>7.2f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total / 2**20:>6.2f} MiB  {len(sizes)} wheels in {options.folder}; the limit is {LIMIT >> 20} MiB")
    if total > LIMIT:
        raise SystemExit(f"the wheels are {total - LIMIT:,} bytes above the limit: leave one out")


def pins() -> dict[str, str]:
    """Version by name: those of constraints.txt, and those that the Makefile installs without their needs."""
    bare = re.search(r"^BARE := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    lines = [*(ROOT / "constraints.txt").read_text().split(), *(bare[1].split() if bare else [])]
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name.replace("_", "-"): version for name, version in pairs}


def gather(wanted: list[str], folder: Path, python: str) -> None:
    """Download the wheels, for the host's Python and Linux, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    fixed = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--python-version", python]
    place = [*(f"--platform={platform}" for platform in PLATFORMS), "--dest", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", "download", *fixed, *place, *wanted])
    if done.returncode:
        raise SystemExit("pip could not fetch the wheels: run this where a package index can be reached")


def strip(wheel: Path, cuda: str) -> None:
    """Leave only the libraries of that CUDA version, and of the CPU, in the wheel of bitsandbytes."""
    kept, part = (f"_cuda{cuda}.so", "_cpu.so"), wheel.with_suffix(".part")
    names = zipfile.ZipFile(wheel).namelist()
    if not any(name.endswith(kept[0]) for name in names):
        raise SystemExit(f"{wheel.name} holds no library for --cuda {cuda!r}: it holds {_libraries(names)}")
    gone = {name for name in names if name.endswith(".so") and not name.endswith(kept)}
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            data = source.read(name)
            if name.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if line.split(",")[0] not in gone).encode()
            if name not in gone:
                target.writestr(source.getinfo(name), data, zipfile.ZIP_DEFLATED)
    part.replace(wheel)


def _libraries(names: list[str]) -> str:
    return ", ".join(sorted(Path(name).stem.rpartition("_")[2] for name in names if name.endswith(".so")))


if __name__ == "__main__":
    main()
