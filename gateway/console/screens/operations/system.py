"""System: the version, the settings of this process, the schema, the size of the tables, retention."""

from functools import cache

from litestar import Response, get

from gateway import __version__
from gateway.config.shown import ShownSetting
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.admin.storage import storage
from gateway.settings import shown_settings_of_environment
from gateway.web.context import Injected


@get("/system", opt={"scope": Scope.ADMIN_READ})
async def show_system(view: Injected[View]) -> Response[bytes]:
    """What this installation is made of; operators also see the settings."""
    found = await storage(view.deps)
    return view.page(
        "operations/system.html",
        found=found,
        all_bytes=sum(one.size for one in found.tables),
        kept=view.deps.policy.keep_days,
        settings=_settings() if view.may(Scope.ADMIN) else None,
        version_of_server=_server_version(found.server.version),
        version=__version__,
    )


@cache
def _settings() -> list[ShownSetting]:
    """The settings that this process started with, as `gateway config show` prints them."""
    return shown_settings_of_environment()


def _server_version(number: int) -> str:
    return f"{number // 10_000}.{number % 10_000}"


HANDLERS = [show_system]
