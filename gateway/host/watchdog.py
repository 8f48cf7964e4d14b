"""Ends a process whose event loop stands still, so that a supervisor starts a new one."""

import asyncio
import faulthandler
import os
import sys
import threading
import time

_EXIT_STATUS = 70


def watch_loop(loop: asyncio.AbstractEventLoop, seconds: int) -> None:
    """Have the running process ended once the loop has not turned for so many seconds.

    A process that was stopped, or a machine that slept, does not count: a thread of the same
    process counts the seconds. What all threads were doing is written to stderr.
    """
    beats = [0]

    def beat() -> None:
        beats[0] += 1
        loop.call_later(0.5, beat)

    def watch() -> None:
        seen, silent = -1, 0
        while True:
            time.sleep(1.0)
            silent = silent + 1 if beats[0] == seen else 0
            seen = beats[0]
            if silent >= seconds:
                sys.stderr.write(f"the event loop stood still for {silent} s: ending\n")
                faulthandler.dump_traceback(all_threads=True)
                os._exit(_EXIT_STATUS)

    loop.call_soon(beat)
    threading.Thread(target=watch, name="watchdog", daemon=True).start()
