"""The settings of what people see in a browser: the console and the portal."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from gateway.config.openid_connect import (
    ClientId,
    ClientSecret,
    Issuer,
    NameClaim,
    ProviderName,
    RoleMap,
    RolesClaim,
    Scopes,
)
from gateway.config.origins import why_no_frame_ancestor
from gateway.config.parts import split


class PageSettings(BaseSettings):
    """Which pages are served, how staff sign in, and who may show them in a frame."""

    console: bool = Field(
        True,
        description="Serves the [console](console.md) at `/console`; `off` leaves its routes out.",
    )
    portal: bool = Field(
        True,
        description="Serves the [portal](portal.md) of tenants at `/portal`; `off` leaves its routes out, and no links into it are made.",
    )
    portal_frame_ancestors: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may show a portal in a frame, such as `https://app.example.com`, "
        "separated by commas; a tenant can have its own instead. Empty: none.",
    )

    console_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Separate port for the console and the portal, with health checks. `GATEWAY_PORT` then "
        "answers neither, and this port nothing of the API. 0: on `GATEWAY_PORT`. Each process on a host needs "
        "its own port.",
    )
    console_host: str = Field(
        "", description="Address that `GATEWAY_CONSOLE_PORT` listens on; empty: `GATEWAY_HOST`."
    )
    oidc_issuer: Issuer = ""
    oidc_client_id: ClientId = ""
    oidc_client_secret: ClientSecret = SecretStr("")
    oidc_scopes: Scopes = "openid email profile"
    oidc_roles_claim: RolesClaim = "groups"
    oidc_roles: RoleMap = {}
    oidc_name_claim: NameClaim = ""
    oidc_provider_name: ProviderName = ""

    @field_validator("portal_frame_ancestors", mode="before")
    @classmethod
    def _parts(cls, value: object) -> object:
        return split(value)

    @field_validator("portal_frame_ancestors")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if reason := why_no_frame_ancestor(origin):
                raise ValueError(f"{origin} {reason}")
        return value
