"""The deployment files name settings, commands and packages that exist."""

import asyncio
import base64
import re
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from packaging.requirements import Requirement

from gateway import __version__
from gateway.embedded.part import run_tool
from gateway.settings import PREFIX, Settings, load_settings
from tests.store.own_postgres import own_postgres, sql, upgrade

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose.yaml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRETS = {
    "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
    "POSTGRES_PASSWORD": "hunter2",
    "VALKEY_PASSWORD": "hunter3",
}
PROCESSES = ("migrate", "api", "worker")


def _interpolate(text: str) -> str:
    """Fill in the secrets and the defaults, as Compose would."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert kind == ":-" or name in SECRETS, f"{name} has neither a default nor a secret"
        return SECRETS.get(name, rest)

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(_interpolate(COMPOSE.read_text()))["services"]


def test_every_variable_is_a_setting() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"\b{PREFIX}\w+", COMPOSE.read_text())) <= known
    assert set(re.findall(rf"\b{PREFIX}\w+", DOCKERFILE)) <= known


@pytest.mark.parametrize("service", PROCESSES)
def test_the_environment_makes_valid_settings(
    service: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services[service]["environment"].items():
        monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert settings.env == "production"
    assert settings.drain_seconds < int(services[service]["stop_grace_period"].removesuffix("s"))


def test_the_environment_starts_only_with_its_secrets() -> None:
    text = COMPOSE.read_text()
    assert {name: f"${{{name}:?" in text for name in SECRETS} == dict.fromkeys(SECRETS, True)
    assert {f"${{{name}:-" in text or f"${{{name}}}" in text for name in SECRETS} == {False}


def test_every_container_has_no_more_rights_and_memory_than_it_needs(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert re.fullmatch(r"[0-9]+[MG]", limits["memory"]), name
    assert {name for name, service in services.items() if not service.get("read_only")} == {
        "postgres"
    }


def test_the_image_names_the_version(services: dict[str, Any]) -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE
    assert {services[name]["image"] for name in PROCESSES} == {f"job-gateway:{__version__}"}


def test_processes_wait_for_what_they_need(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
        }
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def _closure(package: str) -> set[str]:
    found = {package}
    for line in requires(package) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= _closure(requirement.name)
    return found


def test_the_image_gets_its_build_tool_whole() -> None:
    listed = re.search(r"keep = /\^\(([a-z|-]+)\)==/", DOCKERFILE)
    assert listed is not None
    assert set(listed[1].split("|")) == _closure("hatchling")


def test_the_login_owns_its_database_and_is_no_superuser(services: dict[str, Any]) -> None:
    mounted = "./postgres-owner.sql:/docker-entrypoint-initdb.d/owner.sql:ro"
    assert mounted in services["postgres"]["volumes"]
    asyncio.run(_owner_works())


async def _owner_works() -> None:
    async with own_postgres() as server:
        psql = str(Path(server.part.argv[0]).parent / "psql")
        admin = server.url.replace("+asyncpg", "")
        await run_tool(
            *(
                psql,
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                str(ROOT / "deploy/postgres-owner.sql"),
                admin,
            ),
            env={"LC_ALL": "C", "POSTGRES_PASSWORD": SECRETS["POSTGRES_PASSWORD"]},
        )
        login = f"gateway:{SECRETS['POSTGRES_PASSWORD']}@127.0.0.1:{server.port}"
        url = f"postgresql://{login}/gateway"
        await upgrade(url)
        assert await sql(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [
            False
        ]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await sql(admin, "SELECT 1")
