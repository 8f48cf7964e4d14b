"""The annotations of `payload` and `parameters` declare what a handler reads."""

from inspect import signature
from typing import Any

import pytest
from litestar import post

from gateway.web.context import Injected, declare_inputs
from gateway.web.route_table import ANY_KEY, OPEN, OPERATOR, TENANT, flat
from gateway.web.schemas.requests import In, JobIn, NoBody, PageQuery

_HANDLERS = [one for groups in (TENANT, OPERATOR, OPEN, ANY_KEY) for one in flat(groups)]
# POST /job reads its body itself, because it has to be cheap.
_BY_HAND = {"create_job": JobIn}


@pytest.mark.parametrize("handler", _HANDLERS, ids=lambda handler: handler.fn.__name__)
def test_what_a_handler_reads_is_checked_and_documented(handler: Any) -> None:
    parameters = signature(handler.fn).parameters
    for name, option in (("payload", "body"), ("parameters", "query")):
        if name in parameters:
            assert issubclass(handler.opt[option], In)
            assert parameters[name].annotation == Injected[handler.opt[option]]
        elif option in handler.opt:
            assert _BY_HAND[handler.fn.__name__] is handler.opt[option]


def test_a_type_that_is_declared_twice() -> None:
    @post("/twice", opt={"body": JobIn})
    async def twice(payload: Injected[NoBody]) -> None:
        del payload

    with pytest.raises(TypeError, match="twice declares its body twice"):
        declare_inputs(twice)


def test_handlers_do_not_share_their_options() -> None:
    shared: dict[str, Any] = {"scope": "x"}

    @post("/one", opt=shared)
    async def one(payload: Injected[JobIn], parameters: Injected[PageQuery]) -> None:
        del payload, parameters

    declare_inputs(one)
    assert one.opt == {"scope": "x", "body": JobIn, "query": PageQuery}
    assert shared == {"scope": "x"}
