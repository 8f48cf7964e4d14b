"""The watchdog ends a process whose loop stands still, and no other."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SCRIPT = """
import asyncio, sys, time
from gateway.host.watchdog import watch_loop

async def main():
    watch_loop(asyncio.get_running_loop(), 2)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print("ready", flush=True)
    while line := await reader.readline():
        print(line.decode().strip(), flush=True)
        if line == b"block\\n":
            time.sleep(60)

asyncio.run(main())
"""


@contextmanager
def watched() -> Iterator[subprocess.Popen[str]]:
    """A process with a loop that echoes what it reads, and blocks when it is told to."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    with process:
        assert ask(process, "") == "ready"
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdin
    assert process.stdout
    if word:
        print(word, file=process.stdin, flush=True)
    return process.stdout.readline().strip()


def test_a_process_whose_loop_stands_still_ends_and_shows_where():
    with watched() as process:
        assert ask(process, "block") == "block"
        assert process.wait(timeout=30) == 70
        assert process.stderr
        said = process.stderr.read()
    assert "the event loop hung for 2 s: ending" in said
    assert "in main" in said


def test_a_process_that_was_stopped_for_longer_goes_on():
    with watched() as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.6)  # longer than a loop may stand still
        process.send_signal(signal.SIGCONT)
        assert ask(process, "on") == "on"
        time.sleep(1.2)  # the watchdog looks once a second
        assert ask(process, "on") == "on"
        assert process.poll() is None
