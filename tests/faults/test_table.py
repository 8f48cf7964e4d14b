"""Every fault has a drill or a crash point, and every drill has a number."""

import re
from pathlib import Path

from tests.faults.table import FAULTS
from tests.faults.test_crash_points import POINTS

_HERE = Path(__file__).parent
_DRILLS = {
    (path.stem.removeprefix("drill_"), int(number), name)
    for path in (_HERE / "drills").glob("drill_*.py")
    for number, name in re.findall(r"^async def test_(\d\d)_(\w+)", path.read_text(), re.MULTILINE)
}
_ALL_POINTS = {f"{flow}.{point}" for flow, points in POINTS.items() for point in points}


def test_every_fault_has_a_number_and_something_that_injects_it() -> None:
    assert list(FAULTS) == list(range(1, len(FAULTS) + 1))
    assert [number for number, one in FAULTS.items() if not (one.tests or one.points)] == []


def test_what_injects_a_fault_exists() -> None:
    for number, fault in FAULTS.items():
        assert set(fault.points) <= _ALL_POINTS, number
        for beginning in fault.tests:
            assert any(
                (file, its) == (fault.file, number) and name.startswith(beginning)
                for file, its, name in _DRILLS
            ), f"{number}: drill_{fault.file}.py has no test_{number:02}_{beginning}..."


def test_every_drill_is_listed() -> None:
    for file, number, name in _DRILLS:
        fault = FAULTS[number]
        assert file == fault.file, f"{number} is at home in drill_{fault.file}.py"
        assert name.startswith(fault.tests), f"{number}: {name} is not in the table"


def test_every_test_of_a_drill_file_has_a_number() -> None:
    for path in (_HERE / "drills").glob("drill_*.py"):
        assert not re.findall(r"def test_(?!\d\d_)", path.read_text()), path.name


def test_the_page_tells_of_every_fault() -> None:
    page = (_HERE.parents[1] / "docs/reliability.md").read_text()
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert told == set(FAULTS)
