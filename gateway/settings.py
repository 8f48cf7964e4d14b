"""The settings of the gateway; no other module reads the environment.

Every setting is an environment variable with the prefix GATEWAY_. A process reports all invalid
settings at once, and does not start until they are valid.
"""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.config.environment import (
    PREFIX,
    InvalidSettingsError,
    UnknownVariable,
    read_files,
    unknown_variables,
)
from gateway.config.master_key import decode_keys
from gateway.config.openid_connect import why_incomplete
from gateway.config.opentelemetry import TraceSettings, trace_settings
from gateway.config.page_settings import PageSettings
from gateway.config.parts import split
from gateway.config.postgres_url import read_url, read_url_of_standby
from gateway.config.redis_url import parse_redis_url
from gateway.config.shown import ShownSetting, shown_settings
from gateway.config.web_address import checked_url, is_proxy


class Settings(PageSettings, BaseSettings):
    """The settings, read from environment variables and from the files that they name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    env: Literal["production", "dev"] = Field(
        "production", description="`dev` allows plain HTTP and private addresses for receivers."
    )
    database_url: SecretStr = Field(
        description="Postgres 15 or newer: `postgresql://user:password@host:port/database`, with "
        "libpq's parameters, such as `?sslmode=verify-full&sslrootcert=/etc/ca.crt`."
    )
    migration_database_url: SecretStr = Field(
        SecretStr(""),
        description="Address for `gateway db upgrade` that bypasses PgBouncer; empty: `GATEWAY_DATABASE_URL`.",
    )
    read_database_url: SecretStr = Field(
        SecretStr(""),
        description="Address of one streaming standby, which API processes read lists, exports and usage "
        "from; empty: they are read from the primary. See [Postgres](postgres.md#read-replica).",
    )
    read_max_lag_seconds: float = Field(
        5,
        ge=2,
        le=300,
        description="How far the standby of `GATEWAY_READ_DATABASE_URL` may be behind. Beyond it reads go "
        "to the primary.",
    )
    redis_url: SecretStr = Field(
        description="Redis or Valkey: `redis://user:password@host:port/database`, `rediss://` for TLS, "
        "`unix://`, or `redis+sentinel://host1,host2/master`; see [Redis](redis.md)."
    )
    master_key: SecretStr = Field(
        description="32 random bytes in base64 that seal the stored secrets. Several, separated by "
        "commas, rotate it: the first one seals, all of them open."
    )
    upstream_url: str = Field(
        "https://api.music.ai/v1",
        description="Base URL of the upstream job API, for credentials without one of their own.",
    )
    upstream_rate: float = Field(
        0,
        ge=0,
        le=100_000,
        description="Most upstream calls per second of one process with one credential (token bucket); "
        "0: no limit. If the upstream has a limit, set that limit divided by the number of workers.",
    )
    poll_budget: float = Field(
        0.15,
        ge=0,
        le=10,
        description="Average number of upstream calls per job after its submit, when one call serves "
        "many jobs. A single job gets the calls that it needs.",
    )
    host: str = Field("127.0.0.1", description="Address that `gateway serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `gateway serve` listens on.")
    public_url: str = Field(
        "",
        description="Address at which people reach this gateway, such as `https://jobs.example.com`; links "
        "into the console and the portal begin with it. Empty: these links are relative, `/portal/link?...`.",
    )
    share_port: bool = Field(
        False,
        description="Lets several `gateway serve` processes of one database listen on the same port.",
    )
    worker_port: int = Field(
        0, ge=0, le=65535, description="Port for a worker's health checks and metrics; 0: none."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Separate port for an API process's metrics and health checks. It then answers "
        "`/metrics` only there. 0: on `GATEWAY_PORT`. Each process on a host needs its own port.",
    )
    metrics_host: str = Field(
        "", description="Address that `GATEWAY_METRICS_PORT` listens on; empty: `GATEWAY_HOST`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level of log lines that are written."
    )
    log_format: Literal["json", "console"] = Field("json", description="Format of log lines.")
    allow_private_callbacks: bool = Field(
        False,
        description="Allows receivers at private addresses and over plain HTTP; only in `dev`.",
    )
    callback_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Private networks that receivers may be in, as CIDR, separated by commas. The SSRF "
        "guard blocks all others.",
    )
    callback_ports: Annotated[frozenset[int], NoDecode] = Field(
        frozenset({443, 8443}), description="Ports that receivers may use, separated by commas."
    )
    egress_proxy: SecretStr = Field(
        SecretStr(""),
        description="Proxy for all webhooks: `http://user:password@host:port`, with special characters "
        "in user and password percent-encoded. It must allow CONNECT to IP addresses.",
    )
    database_pool: int = Field(
        10,
        ge=2,
        le=200,
        description="Most connections of one process to Postgres; an API process may have as many to the "
        "standby.",
    )
    max_body_bytes: int = Field(
        1_048_576, ge=1024, le=67_108_864, description="Largest request body that is accepted."
    )
    body_memory_bytes: int = Field(
        67_108_864,
        ge=1024,
        description="Most bytes of request bodies that one API process holds in memory; four of the "
        "largest always fit. Requests beyond it are refused with 503.",
    )
    keep_alive_seconds: float = Field(
        75,
        ge=1,
        le=3600,
        description="How long an API process keeps an idle connection open; also the time limit for the "
        "headers of a request. Must be longer than the keep-alive of the proxy in front.",
    )
    max_wait_seconds: float = Field(
        55,
        ge=1,
        le=60,
        description="Longest time that `wait` holds a response back (long poll). Must be shorter than "
        "the time-out of the proxy in front.",
    )
    max_queued: int = Field(
        100_000,
        ge=1,
        description="Most waiting jobs of a tenant that has no limit of its own.",
    )
    max_in_flight: int = Field(
        1_000,
        ge=1,
        description="Most jobs at the upstream of a tenant that has no limit of its own.",
    )
    max_rate: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Most requests per second of a tenant that has no limit of its own; 0: no limit.",
    )
    max_endpoints: int = Field(
        100, ge=1, description="Most webhook endpoints of a tenant that has no limit of its own."
    )
    job_deadline_seconds: float = Field(
        86_400, gt=0, description="How long a job without a deadline of its own may take."
    )
    submit_concurrency: int = Field(
        100, ge=1, le=1000, description="Most concurrent submits of one worker."
    )
    deliver_concurrency: int = Field(
        100, ge=1, le=1000, description="Most concurrent webhook requests of one worker."
    )
    delivery_delays: Annotated[tuple[float, ...], NoDecode] = Field(
        (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        description="Seconds between the attempts of a delivery, separated by commas.",
    )
    delivery_timeout_seconds: float = Field(
        15, gt=0, le=20, description="Longest time that one delivery attempt may take."
    )
    keep_payloads_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="How long params, results and webhook bodies are kept; 0: forever.",
    )
    keep_jobs_days: int = Field(
        0, ge=0, le=36_500, description="How long jobs that have ended are kept; 0: forever."
    )
    keep_attempts_days: int = Field(
        30,
        ge=0,
        le=36_500,
        description="How long delivery attempts are kept; 0: forever.",
    )
    keep_events_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="How long events and their deliveries are kept; 0: forever.",
    )
    drain_seconds: float = Field(
        20, ge=0, le=600, description="How long a stopping process waits for its work to finish."
    )
    drain_delay_seconds: float = Field(
        5,
        ge=0,
        le=600,
        description="How long an API process keeps serving after SIGTERM while its readiness check "
        "fails, so that the load balancer removes it before its port closes.",
    )

    @field_validator("callback_networks", "callback_ports", "delivery_delays", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split(value)

    @field_validator("callback_networks", mode="after")
    @classmethod
    def _networks(
        cls, value: tuple[IPv4Network | IPv6Network, ...]
    ) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(str(network)) for network in value)

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _database(cls, value: SecretStr, field: ValidationInfo) -> SecretStr:
        if value.get_secret_value() or field.field_name == "database_url":
            read_url(value.get_secret_value())
        return value

    @field_validator("read_database_url")
    @classmethod
    def _replica(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            read_url_of_standby(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr) -> SecretStr:
        parse_redis_url(value.get_secret_value())
        return value

    @field_validator("egress_proxy")
    @classmethod
    def _egress(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not is_proxy(value.get_secret_value()):
            raise ValueError("must be http://host:port or http://user:password@host:port")
        return value

    @field_validator("upstream_url")
    @classmethod
    def _upstream(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        return checked_url(value) if value else ""

    @field_validator("master_key")
    @classmethod
    def _master(cls, value: SecretStr) -> SecretStr:
        decode_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _safe_in_production(self) -> "Settings":
        if self.env == "production" and self.allow_private_callbacks:
            raise ValueError("allow_private_callbacks is for dev only; use callback_networks")
        return self

    @model_validator(mode="after")
    def _whole_sign_in(self) -> "Settings":
        values = {name.removeprefix("oidc_"): value for name, value in self if "oidc_" in name}
        if fault := why_incomplete(values, self.public_url):
            raise ValueError(fault)
        return self

    @property
    def master_keys(self) -> list[bytes]:
        """The decoded master keys; the first one seals."""
        return decode_keys(self.master_key.get_secret_value())


SECRETS = tuple(
    name.upper() for name, field in Settings.model_fields.items() if field.annotation is SecretStr
)


def shown_settings_of_environment() -> list[ShownSetting]:
    """Every setting with its value and origin, secrets hidden; raises InvalidSettingsError."""
    given = [name for name, value in os.environ.items() if value]
    return shown_settings(load_settings(), given)


def load_settings() -> Settings:
    """Read the environment and the files that it names.

    Raises InvalidSettingsError, which names every invalid variable.
    """
    values, faults = read_files(SECRETS, os.environ)
    lines = list(faults.values())
    try:
        given: dict[str, Any] = {name.lower(): value for name, value in values.items()}
        settings = Settings(**given)
    except ValidationError as invalid:
        for error in invalid.errors():
            name = str(error["loc"][0]).upper() if error["loc"] else ""
            if name not in faults:
                lines.append(_line(name, error["type"], error["msg"], is_file=name in values))
        settings = None
    if settings is None or lines:
        raise InvalidSettingsError("\n".join(dict.fromkeys(lines)))
    return settings


def unknown_settings() -> list[UnknownVariable]:
    """Return the variables that have the prefix of settings, but are no settings."""
    names = {name.upper() for name in Settings.model_fields}
    return unknown_variables({*names, *(f"{name}_FILE" for name in SECRETS)}, os.environ)


def trace_settings_of_environment() -> TraceSettings:
    """Return whether the OTEL_* variables ask for traces."""
    return trace_settings(os.environ)


def _line(name: str, kind: str, message: str, *, is_file: bool) -> str:
    said = message.removeprefix("Value error, ")
    if not name:
        return said
    variable = f"{PREFIX}{name}_FILE" if is_file else f"{PREFIX}{name}"
    if kind == "missing":
        return f"{variable}: is not set"
    if os.environ.get(variable, "").startswith("tcp://"):
        said = "Kubernetes has set this for a service of that name: enableServiceLinks: false"
    return f"{variable}: {said}"
