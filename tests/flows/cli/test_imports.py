"""Light commands stay light: what each may load, in one process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[3]
# What costs more than a light command may: the first names are of a tenth of a second each, the last of seconds.
HEAVY = (
    *("numpy", "pyarrow", "pydantic", "rich", "sqlalchemy", "httpx", "jinja2", "matplotlib", "tantivy"),
    *("pandas", "datasets", "huggingface_hub", "prefect", "mlflow", "transformers", "torch"),
)
SCRIPT = """
import json, os, sys
from flows.cli.main import main
seen, told = set(), {}
for words in json.loads(sys.argv[1]):
    sys.argv = ["shardtune", *words]
    out, sys.stdout, err, sys.stderr = sys.stdout, open(os.devnull, "w"), sys.stderr, open(os.devnull, "w")
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout, sys.stderr = out, err
    loaded = {name.split(".")[0] for name in sys.modules}
    told[" ".join(words)] = [code, sorted(loaded - seen)]
    seen |= loaded
print(json.dumps(told))
"""


def test_light_commands_load_nothing_heavy(tmp_path):
    """Each may load what the ones before it did, so the lightest go first."""
    source = tmp_path / "catalogue.json"
    source.write_text('{"uid": "1", "title": "Kettle", "content": "It holds two litres of water."}\n')
    calls = [["--help"], ["--version"], ["recipes"], ["finetune", "--help"], ["status"], ["down"]]
    calls.append(["arrived", str(source)])
    call = [sys.executable, "-c", SCRIPT, json.dumps(calls)]
    done = subprocess.run(call, cwd=TOP, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert [code for code, _ in told.values()] == [0, 0, 0, 0, 0, 0, 1]  # no server is there to be told
    assert {words: sorted(set(names) & set(HEAVY)) for words, (_, names) in told.items()} == {
        words: [] for words in told
    }
    assert "click" in told["--help"][1] and "fsspec" not in told["--help"][1]
