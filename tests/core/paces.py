"""Paces that tests of schedules go by."""

from hypothesis import strategies as st

from gateway.core.schedule.polling import Pace

SECONDS = st.floats(0, 1e6)
KNOWN = Pace({"w": 80.0}, {"w": 60.0})


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    typical = draw(st.dictionaries(st.sampled_from("wxyz"), SECONDS))
    return Pace(typical, {name: draw(st.floats(0, most)) for name, most in typical.items()})
