"""The simulators as a service: `python -m deployments.simulators --port 8700 --store-port 8701 …`, until SIGTERM.

`--account` is where clients find the service account of the Vertex simulator; its key is made anew at each start.
"""

from __future__ import annotations

import argparse
import shutil
import signal

from deployments.simulators import serve


def main() -> None:
    """Serve until somebody ends it."""
    options = argparse.ArgumentParser(prog="python -m deployments.simulators", description=__doc__)
    options.add_argument("--host", default="127.0.0.1", help="what to listen on")
    options.add_argument("--port", type=int, default=8700)
    options.add_argument("--store-port", type=int, default=8701, help="of the emulated Cloud Storage")
    options.add_argument("--address", help="by which clients reach the port; this machine's own by default")
    options.add_argument("--account", required=True, help="the file to write the service account to")
    options.add_argument("--speed", type=float, default=60.0, help="simulated seconds in a real one")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with serve.running(chosen.speed, chosen.port, chosen.host, chosen.store_port, chosen.address) as simulators:
        shutil.copyfile(simulators.environment["GOOGLE_APPLICATION_CREDENTIALS"], chosen.account)
        print(f"simulators at {simulators.address}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ended", flush=True)


if __name__ == "__main__":
    main()
