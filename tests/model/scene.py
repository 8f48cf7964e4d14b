"""All that is known at one moment."""

from dataclasses import dataclass
from datetime import datetime

from tests.model.books import Books, Snapshot
from tests.model.receivers import Receivers
from tests.model.upstream import LyingUpstream


@dataclass
class Scene:
    """All that is known at one moment, and the rows of the moment before."""

    now: datetime
    books: Books
    before: Snapshot
    rows: Snapshot
    upstream: LyingUpstream
    receivers: Receivers
