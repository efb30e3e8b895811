"""Faults: what a retrain comes to when something dies in its middle. `python -m tests.drills.faults [NAME]...`

Each fault is done for real, to the processes of one `shardtune up`; `drill.py` has what must hold afterwards. Prints a
table as Markdown; exit status 1 where anything does not hold. All of it takes about half an hour.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.drills import outages
from tests.drills.drill import Drill, Row, ended, running, until

AWAY = 90.0  # seconds


def main() -> int:
    """Exit status 0 where all held."""
    known = (*FAULTS, *outages.APART)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; by default all")
    names = parser.parse_args().names or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no fault is called {sorted(unknown)}: choose from {', '.join(known)}")
    print("| fault | what happened | outcome | seconds |\n|---|---|---|---:|", flush=True)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="shardtune-faults-") as folder:
        place = Path(folder)
        if together := [name for name in names if name in FAULTS]:
            with running(place) as drill:
                for name in together:
                    bad += suffered(name, lambda name=name: FAULTS[name](drill, name))
        for name in [name for name in names if name in outages.APART]:
            bad += suffered(name, lambda name=name: outages.APART[name](place / name))
    return int(bad > 0)


def suffered(name: str, fault: Callable[[], Row]) -> bool:
    """Print the row of one fault; whether anything of it is wrong."""
    began = time.monotonic()
    try:
        row = fault()
    except Exception as error:  # the other faults have their turn
        row = Row("", [f"{type(error).__name__}: {str(error)[-600:]}"])
    outcome = "; ".join(f"BAD: {one}" for one in row.wrong) or "well"
    cells = (name, row.happened, outcome, f"{time.monotonic() - began:.0f}")
    print(f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |", flush=True)
    return bool(row.wrong)


def flow(drill: Drill, name: str) -> Row:
    """kill -9 of the process that works on the flow run."""
    chain = drill.midway(name)
    os.kill(chain.engine(), signal.SIGKILL)
    return ended(chain, "kill -9 of the flow's process")


def machine(drill: Drill, name: str) -> Row:
    """kill -9 of everything at once, and `up` again."""
    chain, service = drill.midway(name), drill.service
    gone = service.processes()
    for process in gone:
        process.kill()
    service.process.wait()
    drill.start()
    return ended(chain, f"kill -9 of all {len(gone)} processes, `up` again")


def killed(child: str) -> Callable[[Drill, str], Row]:
    """kill -9 of one child of `up`."""

    def fault(drill: Drill, name: str) -> Row:
        chain, before = drill.midway(name), drill.service.known()[child]["pid"]
        os.kill(before, signal.SIGKILL)
        until(lambda: drill.service.known()[child]["pid"] != before, f"{child} is not started again")
        return ended(chain, f"kill -9 of {child}; `up` started it again")

    return fault


def away(child: str) -> Callable[[Drill, str], Row]:
    """A server that hears and answers nobody for a while."""

    def fault(drill: Drill, name: str) -> Row:
        chain, group = drill.midway(name), drill.service.known()[child]["pid"]
        os.killpg(group, signal.SIGSTOP)
        try:
            time.sleep(AWAY)
        finally:
            os.killpg(group, signal.SIGCONT)
        return ended(chain, f"{child} stopped for {AWAY:.0f} s, then continued")

    return fault


def provider(drill: Drill, name: str) -> Row:
    """Every route of the provider answers 503 for a while."""
    chain, state = drill.midway(name), drill.simulators.state
    routes = sorted({asked["route"] for asked in state.requests} | {"openai.chat", "openai.files.content"})
    state.faults += [{"route": one, "fault": "status", "status": 503, "times": None} for one in routes]
    time.sleep(AWAY)
    state.faults.clear()
    refused = state.taken.count("status")
    return ended(chain, f"provider answered 503 for {AWAY:.0f} s ({refused} times)")


def twice(drill: Drill, name: str) -> Row:
    """Two workers of one pool, and the process of a running run started once more."""
    worker = psutil.Process(drill.service.known()["worker cpu"]["pid"])
    call, environment = worker.cmdline(), worker.environ()
    call[call.index("--name") + 1] = "second"
    with subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as second:
        chain = drill.midway(name)
        (run,) = chain.runs()
        held = {"route": "openai.jobs.retrieve", "fault": "status", "status": 503, "times": None}
        drill.simulators.state.faults.append(held)  # so that it is at work until both others have ended
        status = []
        for more in (["prefect", "flow-run", "execute", run["id"]], ["prefect.engine"]):
            own = environment | {"PREFECT__FLOW_RUN_ID": run["id"]}
            done = subprocess.run([sys.executable, "-m", *more], env=own, capture_output=True, text=True)
            status.append(done.returncode)
        drill.simulators.state.faults.clear()
        row = ended(chain, f"two workers; the run executed twice more, which ended with statuses {status}")
        second.kill()  # asked to end, it takes minutes
    many = len(chain.runs())
    return row if many == 1 else Row(row.happened, [*row.wrong, f"{many} retrains instead of 1"])


FAULTS: dict[str, Callable[[Drill, str], Row]] = {
    "flow": flow,
    "worker": killed("worker cpu"),
    "prefect": killed("prefect"),
    "mlflow": killed("mlflow"),
    "machine": machine,
    "provider": provider,
    "twice": twice,
    "trainer": outages.trainer,
    "mlflow-away": away("mlflow"),
    "prefect-away": away("prefect"),
}

if __name__ == "__main__":
    sys.exit(main())
