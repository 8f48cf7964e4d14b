"""Histories: what tenants, the upstream, receivers and bad luck do to two gateway processes."""

import sys
from collections.abc import Collection, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from gateway.core.events import EVENT_TYPES
from tests.model.answers import DELETES, LISTS, LONGEST_LAG, PAGES, READS, SUBMITS, Site
from tests.model.play import SLUGS, Batch, By, Play
from tests.model.process import ALL, CALLS, WAKES, Cut, Round
from tests.model.receivers import ANSWERS
from tests.model.stage import Stage

_LAGS = (0.0, 2.5, LONGEST_LAG)


def turns(names: Collection[str]) -> st.SearchStrategy[Sequence[str]]:
    """What is done by turns."""
    return st.lists(st.sampled_from(list(names)), min_size=1, max_size=3)


def site(slug: str) -> st.SearchStrategy[Site]:
    """Upstreams of many kinds."""
    return st.builds(
        Site,
        st.just(slug),
        newest_first=st.booleans(),
        page_size=st.sampled_from([100, 2, 3]),
        pages=st.sampled_from(PAGES),
        clock_off=st.sampled_from([0.0, -300.0, 300.0]),
        list_lag=st.sampled_from(_LAGS),
        submits=turns(SUBMITS),
        reads=turns(READS),
        lists=turns(LISTS),
        deletes=turns(DELETES),
    )


numbers = st.integers(0, 1)
tenants = st.integers(0, len(SLUGS) - 1)
picks = st.integers(0, 11)
statuses = st.sampled_from(["STARTED", "SUCCEEDED", "FAILED"])
cuts = st.none() | st.builds(Cut, st.sampled_from(["crash", "away", "unsaid"]), st.integers(0, 7))
by = st.builds(By, numbers, cuts)
batches = st.builds(
    Batch,
    count=st.integers(1, 3),
    key=st.none() | st.sampled_from("ab"),
    callback=st.booleans(),
    deadline=st.sampled_from([86_400.0, 86_400.0, 86_400.0, 120.0]),
    cap=st.sampled_from([1000, 1000, 2]),
)
calls = st.frozensets(st.sampled_from(CALLS), min_size=1, max_size=2)
rounds = st.builds(
    Round,
    seconds=st.sampled_from([0.3, 0.0, 2.1, 5.0, 31.0, 61.0, 301.0, 2000.0]),
    number=numbers,
    works=st.sampled_from([WAKES, WAKES, WAKES, ALL, ALL, *((work,) for work in ALL)]),
    cut=cuts,
    status=st.none() | statuses,
    holds=st.just(frozenset[str]()) | calls,
)
# Something happens, and then the gateway works for some rounds.
then = st.lists(rounds, max_size=4)
changes = st.sampled_from(
    ["new key", "same key", "revoke", "honour", "suspend", "resume", "hook", "no hook"]
)
hooks = st.lists(st.sampled_from(EVENT_TYPES), max_size=2)


class Gateway(RuleBasedStateMachine):
    """Two processes of one gateway, two tenants with a few jobs, and all that can befall them."""

    play: Play

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        stage.clear()
        self.stage = stage

    @initialize(sites=st.tuples(*map(site, SLUGS)))
    def begin(self, *, sites) -> None:
        self.play = Play(self.stage, sites)

    @rule(by=by, tenant=tenants, batch=batches, then=then)
    def accept(self, *, by, tenant, batch, then) -> None:
        self.play.accept(by, self.play.books.tenants[tenant], batch)
        self.play.work(then)

    @rule(by=by, pick=picks, then=then)
    def delete(self, *, by, pick, then) -> None:
        self.play.delete(by, pick)
        self.play.work(then)

    @rule(by=by, tenant=tenants, change=changes, pick=picks, events=hooks, then=then)
    def administer(self, *, by, tenant, change, pick, events, then) -> None:
        play, tenancy = self.play, self.play.books.tenants[tenant]
        match change:
            case "new key" | "same key":
                play.put_key(by, tenancy, is_new=change == "new key")
            case "revoke":
                self.stage.upstream.revoked.add(tenancy.keys[-1])
            case "honour":
                self.stage.upstream.revoked -= set(tenancy.keys)
            case "suspend" | "resume":
                play.suspend(by, tenancy, is_suspended=change == "suspend")
            case "hook":
                play.add_hook(by, tenancy, events)
            case _:
                play.delete_hook(by, pick)
        play.work(then)

    @rule(
        tenant=tenants,
        submits=st.none() | turns(SUBMITS),
        reads=st.none() | turns(READS),
        lists=st.none() | turns(LISTS),
        deletes=st.none() | turns(DELETES),
        lag=st.sampled_from([*_LAGS, 100.0]),
        then=then,
    )
    def upstream_is(self, *, tenant, submits, reads, lists, deletes, lag, then) -> None:
        site = self.play.sites[SLUGS[tenant]]
        site.submits, site.reads = submits or site.submits, reads or site.reads
        site.lists, site.deletes = lists or site.lists, deletes or site.deletes
        site.list_lag = lag
        self.play.work(then)

    @rule(pick=picks, status=statuses, then=then)
    def upstream_goes_on(self, *, pick, status, then) -> None:
        jobs = list(self.stage.upstream.jobs.values())
        self.play.move(jobs[pick : pick + 1], status)
        self.play.work(then)

    @rule(pick=picks, hows=turns(ANSWERS), then=then)
    def receiver_is(self, *, pick, hows, then) -> None:
        receivers = list(self.stage.receivers.at.values())
        receivers[pick % len(receivers)].hows = hows
        self.play.work(then)

    @rule(
        number=numbers,
        tenant=tenants,
        batch=batches,
        calls=calls,
        first=st.sampled_from(list(SUBMITS)),
        answer=st.sampled_from(list(ANSWERS)),
        status=st.none() | statuses,
        then=then,
    )
    def stand_still(self, *, number, tenant, batch, calls, first, answer, status, then) -> None:
        """A process has no answers for longer than its leases last, while another takes over."""
        tenancy = self.play.books.tenants[tenant]
        self.play.sites[tenancy.slug].heal(submits=(first, "taken"))
        for receiver in self.stage.receivers.at.values():
            receiver.hows = (answer, "ok")
        self.play.accept(By(number), tenancy, batch)
        self.play.stand_still(number, calls, status, then)

    @rule(number=numbers, is_killed=st.booleans(), then=then)
    def let_go(self, *, number, is_killed, then) -> None:
        self.play.books.was_disturbed = True
        if is_killed:
            self.stage.kill(number)
        else:
            self.stage.release(number)
        self.play.work(then)

    @rule(then=then)
    def work(self, *, then) -> None:
        self.play.work(then)

    @invariant()
    def promises_are_kept(self) -> None:
        self.play.check()

    @override
    def teardown(self) -> None:
        if sys.exc_info()[0] is None:
            self.play.heal()
            self.play.check_end()
