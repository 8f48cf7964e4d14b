"""Find the API and the key for a command: in its options, the environment, or dev.json."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, cast

import click

from gateway.cli.api.client import Api, ApiAccess
from gateway.cli.api.client_settings import ACCESS_KEY, API, FILE, OPERATOR_KEY, TENANT
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret, read_text

DATA_DIR = Path(".gateway")


Facts = dict[str, Any]

_api_option = click.option("--api", metavar="URL", help="Root of the API. Default: GATEWAY_API.")
_data_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Use the `gateway dev` with this data folder. Default: .gateway, if no API and key are given.",
)
_tenant_option = click.option(
    "--tenant",
    metavar="SLUG",
    help="Tenant that a service key acts for, or whose key of `gateway dev` is used. "
    "Default: GATEWAY_TENANT.",
)


def _key_option(variable: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--key-file",
        type=TEXT_FILE,
        help=f"File with the access key. Default: the key in {variable}.",
    )


def with_operator(command: Callable[Concatenate[Api, ...], None]) -> Callable[..., None]:
    """Give a command the options for an operator's key, and an opened Api as its first argument."""

    @operator_options
    @functools.wraps(command)
    def wrapper(
        *,
        api: str | None,
        key_file: Path | None,
        data_dir: Path | None,
        **kwargs: object,
    ) -> None:
        with Api(operator_access(api, key_file, data_dir)) as opened:
            command(opened, **kwargs)

    return wrapper


def with_tenant(command: Callable[Concatenate[Api, ...], None]) -> Callable[..., None]:
    """Give a command the options for a tenant's key, and an opened Api as its first argument."""

    @access_options
    @functools.wraps(command)
    def wrapper(
        *,
        api: str | None,
        key_file: Path | None,
        tenant: str | None,
        data_dir: Path | None,
        **kwargs: object,
    ) -> None:
        with Api(tenant_access(api, key_file, tenant, data_dir)) as opened:
            command(opened, **kwargs)

    return wrapper


def operator_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --api, --key-file and --data-dir, as `operator_access` takes them."""
    return _api_option(_key_option(OPERATOR_KEY)(_data_option(command)))


def access_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --api, --key-file, --tenant and --data-dir, as `tenant_access` takes them."""
    return _api_option(_key_option(ACCESS_KEY)(_tenant_option(_data_option(command))))


def any_access(
    api: str | None,
    key_file: Path | None,
    tenant: str | None,
    data_dir: Path | None,
    *,
    operator: bool = False,
) -> ApiAccess:
    """Return a tenant's or service's access; an operator's if only that key is set, or if asked for."""
    has_key = key_file is not None or _is_set(ACCESS_KEY)
    has_only_operators = not has_key and _is_set(OPERATOR_KEY) and data_dir is None
    if operator or has_only_operators:
        return operator_access(api, key_file, data_dir)
    return tenant_access(api, key_file, tenant, data_dir)


def operator_access(api: str | None, key_file: Path | None, data_dir: Path | None) -> ApiAccess:
    """Return an operator's access from options, the environment or dev.json; raises CommandError."""
    dev, root, key = _find(api, key_file, data_dir, OPERATOR_KEY)
    return ApiAccess(root, key) if dev is None else ApiAccess(root, key or dev["operatorKey"])


def tenant_access(
    api: str | None, key_file: Path | None, tenant: str | None, data_dir: Path | None
) -> ApiAccess:
    """Return the access of a tenant or a service, from the same sources; raises CommandError."""
    slug = tenant or os.environ.get(TENANT) or None
    dev, root, key = _find(api, key_file, data_dir, ACCESS_KEY)
    return ApiAccess(root, key, slug) if dev is None or key else _of_dev(dev, root, slug)


def _find(
    api: str | None, key_file: Path | None, data_dir: Path | None, variable: str
) -> tuple[Facts | None, str, str]:
    """Return the facts of `gateway dev` if they are used, the root of the API, and the key if given.

    A key from the environment is never sent to an address from a dev.json in the current folder.
    """
    key = _read_key(key_file)
    if data_dir is None:
        api = api or os.environ.get(API)
        key = key or _key_of_environment(variable)
    if data_dir is not None or not (api or key):
        facts = facts_of_dev(data_dir or DATA_DIR)
        return facts, api or facts["api"], key
    if not api:
        raise CommandError(
            "the address of the API is not set",
            ExitCode.USAGE,
            "Set --api or GATEWAY_API, such as http://host:8000.",
        )
    if not key:
        hint = f"Set {variable} or --key-file; `gateway key create` makes a key."
        raise CommandError("there is no access key", ExitCode.DENIED, hint)
    return None, api, key


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable) or os.environ.get(variable + FILE))


def _key_of_environment(variable: str) -> str:
    key, file = os.environ.get(variable, "").strip(), os.environ.get(variable + FILE)
    return key if key or not file else read_secret(Path(file))


def _read_key(file: Path | None) -> str:
    return "" if file is None else read_secret(file)


def facts_of_dev(folder: Path) -> Facts:
    """Read the dev.json in a folder; raises CommandError."""
    file = folder / "dev.json"
    if not file.exists():
        raise CommandError(
            f"the address of the API is not set, and there is no {file}",
            ExitCode.USAGE,
            "Set GATEWAY_API and the key, or start `gateway dev`.",
        )
    try:
        return cast("Facts", json.loads(read_text(file)))
    except ValueError:
        raise CommandError(
            f"{file} is damaged", ExitCode.USAGE, "Restart `gateway dev`, which writes it again."
        ) from None


def _of_dev(dev: Facts, root: str, slug: str | None) -> ApiAccess:
    tenants: list[dict[str, str]] = dev["tenants"]
    for tenant in tenants:
        if slug in (None, tenant["slug"]):
            return ApiAccess(
                root, tenant["accessKey"], found_in=_elsewhere(tenants, tenant["slug"])
            )
    return ApiAccess(root, dev["serviceKey"], slug)


def _elsewhere(tenants: list[dict[str, str]], used: str) -> str:
    others = " or ".join(f"--tenant {one['slug']}" for one in tenants if one["slug"] != used)
    return f"This searched the tenant {used} of `gateway dev`; {others} searches another one."
