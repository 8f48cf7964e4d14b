"""`python -m gateway.simulator`: the options of `run` on the command line."""

import argparse
from pathlib import Path

from gateway.simulator.server import run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.simulator", description="Serves a simulated Music AI API."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="API port; 0 takes a free one")
    parser.add_argument("--files-port", type=int, default=0, help="file port; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state-file", type=Path, help="keeps jobs across restarts")
    parser.add_argument("--files-certificate", type=Path, help="PEM with key: file URLs are https")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
