"""What counts as the output that a page shows."""

import pytest

from tests.real_servers.pages.page import commands, matches


@pytest.mark.parametrize(
    ("shows", "said", "same"),
    [
        ("", "", True),
        ("", "Error: oops", False),
        ("The schema is at 0017.", "The schema is at 0018.\n", True),
        ("The schema is at 0017.", "The schema is at nothing.", False),
        ("KEY  RANK\n5f1c09aa  1", "KEY       RANK\n928e3c47  2\n", True),
        ("a ... b", "a and much\nelse b", True),
        ("a ... b", "b a", False),
        ("...", "anything", True),
        ("...x...", "some x here", True),
        ("...x...", "some y here", False),
    ],
)
def test_numbers_ids_and_widths_may_differ(shows: str, said: str, *, same: bool) -> None:
    assert matches(shows, said) is same


def test_commands_are_read_with_their_account_and_their_lines() -> None:
    base, check = commands("backups.md", "Archive the log")[-2:]
    assert (base.as_server, base.text) == (True, 'pg_basebackup -c fast -D "$BACKUP"')
    assert (check.as_server, check.shows) == (True, "backup successfully verified")
    (publish,) = [
        one for one in commands("backups.md", "Publish on the old server") if one.as_server
    ]
    assert publish.text.startswith("psql -q gateway <<'END'\nSELECT format(")
    assert publish.text.endswith("\nEND")
