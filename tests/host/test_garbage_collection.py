"""The garbage collector of a long-running process."""

import subprocess
import sys

_PROGRAM = """
import gc
from gateway.host import garbage_collection

garbage_collection.relax()
assert gc.get_freeze_count() > 1000, "what start-up made is left alone"
searched = []
gc.callbacks.append(lambda phase, info: searched.append(info["generation"]))
kept = [[] for _ in range(9_000)]
assert not searched
kept += [[] for _ in range(2_000)]
assert searched

class Loop:
    pass

one = Loop()
one.itself = one
freed = []
import weakref
weakref.finalize(one, freed.append, True)
del one
kept += [[] for _ in range(11_000)]
assert freed, "a cycle is still freed"
"""


def test_it_searches_seldom_and_only_what_is_new() -> None:
    ended = subprocess.run(
        (sys.executable, "-c", _PROGRAM), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
