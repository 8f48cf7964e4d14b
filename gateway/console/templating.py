"""The templates: Jinja with autoescape, strict about unknown names, with the words of pages as filters."""

from datetime import datetime
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway import __version__
from gateway.console.show import words
from gateway.console.show.json_view import json_view
from gateway.console.show.states import delivery_pill, job_pill


@cache
def environment() -> Environment:
    """The templates of this process, compiled once."""
    made = Environment(
        loader=PackageLoader("gateway.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = {
        "absolute": words.absolute,
        "bytes": words.size,
        "code": words.code,
        "count": words.count,
        "delivery_pill": delivery_pill,
        "duration": words.duration,
        "job_pill": job_pill,
        "json_view": json_view,
        "machine": words.machine,
        "short_id": words.short_id,
        "shown": words.shown,
        "shown_lines": words.shown_lines,
    }
    untyped: Any = made
    untyped.filters |= filters
    untyped.globals |= {"version": __version__}
    return made


def rendered(template: str, now: datetime, values: dict[str, object]) -> bytes:
    """A page as HTML; relative times are from `now`."""
    found = environment().get_template(template)
    return found.render(values, ago=partial(words.ago, now=now), now=now).encode()
