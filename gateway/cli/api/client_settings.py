"""The environment variables of commands that talk to an API, which no server reads."""

from collections.abc import Mapping

API = "GATEWAY_API"
ACCESS_KEY = "GATEWAY_ACCESS_KEY"
OPERATOR_KEY = "GATEWAY_OPERATOR_KEY"
TENANT = "GATEWAY_TENANT"
FILE = "_FILE"

CLIENT_SETTINGS: Mapping[str, str] = {
    API: "Root of the API, such as `https://gateway.example.com`; `--api` comes first.",
    ACCESS_KEY: "A tenant's or a service's access key, for commands about jobs, webhooks, events and "
    "usage; `--key-file` comes first.",
    ACCESS_KEY + FILE: "File with that key.",
    OPERATOR_KEY: "An operator's access key, for commands about tenants, credentials, keys, queues and "
    "the audit; `--key-file` comes first.",
    OPERATOR_KEY + FILE: "File with that key.",
    TENANT: "The tenant that a service key acts for; `--tenant` comes first.",
    "NO_COLOR": "Anything but empty: no colours. They are for terminals only in any case.",
    "COLUMNS": "How wide tables may be, instead of what the terminal has.",
    "XDG_STATE_HOME": "Where `gateway listen` keeps its secrets, else `~/.local/state`.",
}
