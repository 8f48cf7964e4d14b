"""The Compose files name settings that exist, give no more rights than needed, and keep their secrets."""

import asyncio
import base64
import re
import shutil
import subprocess
from functools import reduce
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from gateway import __version__
from gateway.embedded.part import run_tool
from gateway.settings import PREFIX, Settings, load_settings
from tests.deploy.tools import system_tool, tool
from tests.store.own_postgres import own_postgres, sql, upgrade

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
OVERLAYS = ("compose.pooler.yaml", "compose.observability.yaml")
FILES = ("compose.yaml", *OVERLAYS)
SECRETS = {
    "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
    "POSTGRES_PASSWORD": "hunter2",
    "VALKEY_PASSWORD": "hunter3",
    "GRAFANA_PASSWORD": "hunter4",
}
PROCESSES = ("migrate", "api", "worker")


def _interpolate(text: str) -> str:
    """Fill in the secrets and the defaults, as Compose would."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert kind == ":-" or name in SECRETS, f"{name} has neither a default nor a secret"
        return SECRETS.get(name, rest)

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


def _merged(below: Any, above: Any) -> Any:
    """What Compose makes of two files: mappings are merged, and everything else here is replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    keys = [*below, *(key for key in above if key not in below)]
    return {
        key: _merged(below[key], above[key])
        if key in below and key in above
        else {**below, **above}[key]
        for key in keys
    }


def _services(*names: str) -> dict[str, Any]:
    files = [yaml.safe_load(_interpolate((DEPLOY / name).read_text())) for name in names]
    return reduce(_merged, files)["services"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return _services("compose.yaml")


@pytest.fixture(
    scope="module", params=[(), *((name,) for name in OVERLAYS), OVERLAYS], ids="+".join
)
def stack(request: pytest.FixtureRequest) -> dict[str, Any]:
    """All services of the first file with none, one or both of the overlays."""
    return _services("compose.yaml", *request.param)


@pytest.mark.parametrize("name", FILES)
def test_it_is_what_the_specification_of_compose_describes(name: str) -> None:
    check = (tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    found = subprocess.run(
        (*check, str(DEPLOY / name)), capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_a_setting(name: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"\b{PREFIX}\w+", (DEPLOY / name).read_text())) <= known


@pytest.mark.parametrize("name", FILES)
def test_every_mounted_file_exists(name: str) -> None:
    services = _services(name).values()
    mounts = [mount for service in services for mount in service.get("volumes", ())]
    ours = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert [path for path in ours if not (DEPLOY / path).exists()] == []


@pytest.mark.parametrize("service", PROCESSES)
def test_the_environment_makes_valid_settings(
    service: str, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack[service]["environment"].items():
        monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert settings.env == "production"
    assert settings.drain_seconds < int(stack[service]["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("name", FILES)
def test_it_starts_only_with_its_secrets(name: str) -> None:
    text = (DEPLOY / name).read_text()
    used = [secret for secret in SECRETS if f"${{{secret}" in text]
    assert used
    assert [secret for secret in used if f"${{{secret}:?" not in text] == []
    assert [secret for secret in used if re.search(rf"\$\{{{secret}(:-|\}})", text)] == []


def test_every_container_has_no_more_rights_and_memory_than_it_needs(stack: dict[str, Any]) -> None:
    for name, service in stack.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert re.fullmatch(r"[0-9]+[MG]", limits["memory"]), name
    assert {name for name, service in stack.items() if not service.get("read_only")} == {"postgres"}


def test_nothing_is_open_to_other_machines_by_default(stack: dict[str, Any]) -> None:
    ports = [port for service in stack.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_image_has_a_version(stack: dict[str, Any]) -> None:
    images = {service["image"] for service in stack.values()}
    assert [image for image in images if not re.search(r":v?[0-9][0-9.]*$", image)] == []


def test_the_version_of_the_image_is_named(services: dict[str, Any]) -> None:
    assert {services[name]["image"] for name in PROCESSES} == {f"job-gateway:{__version__}"}


def test_processes_wait_for_what_they_need(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
        }
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_pooler_is_between_the_processes_and_postgres_but_not_for_migrations() -> None:
    stack = _services("compose.yaml", "compose.pooler.yaml")
    for name in PROCESSES:
        environment = stack[name]["environment"]
        assert "@pgbouncer:6432/" in environment["GATEWAY_DATABASE_URL"]
        assert "@postgres:5432/" in environment["GATEWAY_MIGRATION_DATABASE_URL"]
        assert environment["GATEWAY_MASTER_KEY"] == SECRETS["GATEWAY_MASTER_KEY"]
    for name in ("api", "worker"):
        assert stack[name]["depends_on"]["pgbouncer"] == {"condition": "service_healthy"}
        assert "migrate" in stack[name]["depends_on"]


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


def test_prometheus_takes_what_it_is_given_and_asks_every_process(tmp_path: Path) -> None:
    """The configuration is where the container has it, beside the rules that it names."""
    stack = _services("compose.yaml", "compose.observability.yaml")
    mounts = [mount.split(":") for mount in stack["prometheus"]["volumes"]]
    for source, target, *_ in mounts:
        if source.startswith("./"):
            shutil.copy(DEPLOY / source, tmp_path / Path(target).name)
    configuration = tmp_path / "prometheus.yaml"
    asked = yaml.safe_load(configuration.read_text())["scrape_configs"][0]["dns_sd_configs"]

    assert {(name, one["port"]) for one in asked for name in one["names"]} == {
        ("api", stack["api"]["environment"]["GATEWAY_PORT"]),
        ("worker", stack["worker"]["environment"]["GATEWAY_WORKER_PORT"]),
    }
    promtool = system_tool("promtool", "prometheus")
    found = subprocess.run(
        (promtool, "check", "config", str(configuration)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_grafana_asks_that_prometheus() -> None:
    stack = _services("compose.yaml", "compose.observability.yaml")
    folder = DEPLOY / "monitoring/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/job-gateway.yaml").read_text())["providers"]

    assert source["url"] == "http://prometheus:9090"
    assert "./monitoring/grafana:/etc/job-gateway:ro" in stack["grafana"]["volumes"]
    assert provider["options"]["path"].startswith("/etc/job-gateway/")
