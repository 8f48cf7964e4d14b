"""Ends a process whose event loop hangs, so that a supervisor starts a new one."""

import asyncio
import faulthandler
import os
import sys
import threading
import time

_EXIT_STATUS = 70


def watch_loop(loop: asyncio.AbstractEventLoop, seconds: int) -> None:
    """End the process when the loop has not run for `seconds`, and write all stacks to stderr.

    A thread of the same process counts the seconds, so a stopped process or a sleeping machine does
    not count.
    """
    turns = [0]

    def count_turn() -> None:
        turns[0] += 1
        loop.call_later(0.5, count_turn)

    def watch() -> None:
        seen, hung = -1, 0
        while True:
            time.sleep(1.0)
            hung = hung + 1 if turns[0] == seen else 0
            seen = turns[0]
            if hung >= seconds:
                sys.stderr.write(f"the event loop hung for {hung} s: ending the process\n")
                faulthandler.dump_traceback(all_threads=True)
                os._exit(_EXIT_STATUS)

    loop.call_soon(count_turn)
    threading.Thread(target=watch, name="watchdog", daemon=True).start()
