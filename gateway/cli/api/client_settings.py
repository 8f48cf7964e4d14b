"""The environment variables of commands that call the API; servers do not read them."""

from collections.abc import Mapping

API = "GATEWAY_API"
ACCESS_KEY = "GATEWAY_ACCESS_KEY"
OPERATOR_KEY = "GATEWAY_OPERATOR_KEY"
TENANT = "GATEWAY_TENANT"
FILE = "_FILE"

CLIENT_SETTINGS: Mapping[str, str] = {
    API: "Root of the API, such as `https://gateway.example.com`; `--api` overrides it.",
    ACCESS_KEY: "A tenant's or a service's access key, for commands about jobs, webhooks, events and "
    "usage; `--key-file` overrides it.",
    ACCESS_KEY + FILE: "File with that key.",
    OPERATOR_KEY: "An operator's access key, for commands about tenants, credentials, keys, queues and "
    "the audit; `--key-file` overrides it.",
    OPERATOR_KEY + FILE: "File with that key.",
    TENANT: "The tenant that a service key acts for; `--tenant` overrides it.",
    "NO_COLOR": "If set and not empty: no colours. Colours are only used on a terminal.",
    "COLUMNS": "Width of tables, instead of the terminal's.",
    "XDG_STATE_HOME": "Folder for the secrets of `gateway listen`. Default: `~/.local/state`.",
}
