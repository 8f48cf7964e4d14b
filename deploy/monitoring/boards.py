#!/usr/bin/env python3
"""Write the Grafana boards into grafana/dashboards/: `make boards`.

A panel is a title, a unit, and queries by their legend. NS stands for the gateway that is chosen at the
top of the board. Values of the whole gateway are the same on every API process, hence `max`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "grafana/dashboards"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_NAMESPACE = 'namespace=~"$namespace"'
_RATE = "$__rate_interval"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3


class Panel(NamedTuple):
    """One panel; `unit` is a unit of Grafana, such as s, reqps, percentunit or short."""

    title: str
    unit: str
    queries: Mapping[str, str]
    description: str = ""


def _rate(metric: str, by: str, labels: str = "NS") -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[{_RATE}]))"


def _quantiles(metric: str) -> dict[str, str]:
    buckets = f"sum by (le) (rate({metric}_bucket{{NS}}[{_RATE}]))"
    return {f"p{q}": f"histogram_quantile(0.{q}, {buckets})" for q in (50, 95, 99)}


def _burn(level: str, budget: str) -> dict[str, str]:
    """How many times too fast the budget is used, over a short and a long window."""
    return {
        window: f"gateway:{level}{window}{{NS}} / {budget}" for window in ("5m", "1h", "6h", "3d")
    }


OVERVIEW = (
    Panel(
        "Processes",
        "short",
        {
            "workers {{state}}": "max by (state) (gw_workers_seen{NS})",
            "API {{state}}": "max by (state) (gw_api_processes_seen{NS})",
        },
        "Without a worker that is ok no work is done.",
    ),
    Panel("Requests by status", "reqps", {"{{status}}": _rate("gw_http_requests_total", "status")}),
    Panel("Time to answer", "s", _quantiles("gw_http_request_duration_seconds")),
    Panel(
        "Jobs accepted and ended",
        "reqps",
        {
            "accepted": f"sum(rate(gw_jobs_accepted_total{{NS}}[{_RATE}]))",
            "{{outcome}}": _rate("gw_jobs_finished_total", "outcome"),
        },
    ),
    Panel("Open jobs", "short", {"{{state}}": "max by (state) (gw_jobs_current{NS})"}),
    Panel(
        "Oldest row that may be handled now",
        "s",
        {
            "{{queue}}": "max by (queue) (gw_queue_oldest_seconds{NS})",
        },
        "If it grows, workers are missing.",
    ),
    Panel(
        "Accept: burn rate",
        "short",
        _burn("accept_errors:ratio_rate", "0.001"),
        "Above 1 the budget does not last for 30 days.",
    ),
    Panel(
        "Webhooks: burn rate",
        "short",
        _burn("webhook_late:ratio", "0.005"),
        "Above 1 the budget does not last for 30 days.",
    ),
    Panel(
        "Jobs: burn rate",
        "short",
        _burn("job_late:ratio_rate", "0.01"),
        "Above 1 the budget does not last for 30 days.",
    ),
    Panel(
        "Feed: burn rate",
        "short",
        _burn("feed_late:ratio", "0.01"),
        "Above 1 the budget does not last for 30 days.",
    ),
    Panel(
        "Alerts",
        "short",
        {
            "{{alertname}}": 'count by (alertname) (ALERTS{NS,alertname=~"Gateway.*",alertstate="firing"})'
        },
    ),
    Panel("Versions", "short", {"{{version}}": "count by (version) (gw_build_info{NS})"}),
)

TENANTS = (
    Panel("Tenants with jobs to submit", "short", {"tenants": "max(gw_tenants_waiting{NS})"}),
    Panel(
        "Jobs held back, by reason",
        "short",
        {
            "{{reason}}": 'max by (reason) (gw_queue_held{NS,queue="accepted"})',
        },
        "No metric names a tenant; gateway queue and gateway job list do.",
    ),
    Panel(
        "Jobs refused, by reason",
        "reqps",
        {"{{reason}}": _rate("gw_jobs_rejected_total", "reason")},
    ),
    Panel(
        "Jobs accepted, by workflow",
        "reqps",
        {"{{workflow}}": _rate("gw_jobs_accepted_total", "workflow")},
    ),
    Panel(
        "Jobs ended without success, by workflow",
        "reqps",
        {
            "{{workflow}} {{outcome}}": _rate(
                "gw_jobs_finished_total", "workflow, outcome", 'NS,outcome!="succeeded"'
            ),
        },
    ),
    Panel(
        "Jobs past their deadline",
        "short",
        {"in an hour": "sum(increase(gw_jobs_expired_total{NS}[1h]))"},
    ),
    Panel(
        "Largest share of a tenant in a claim",
        "percentunit",
        _quantiles("gw_claim_largest_share"),
        "Of claims that served several tenants. Near 1 for long: one tenant gets nearly everything.",
    ),
    Panel(
        "Credentials that are not polled, by reason",
        "short",
        {
            "{{reason}}": 'max by (reason) (gw_queue_held{NS,queue="poll"})',
        },
    ),
    Panel("Rows of bulk operations", "reqps", {"{{kind}}": _rate("gw_bulk_rows_total", "kind")}),
)

WEBHOOKS = (
    Panel(
        "Attempts by outcome",
        "reqps",
        {"{{outcome}}": _rate("gw_webhook_attempts_total", "outcome")},
    ),
    Panel(
        "Failed attempts by error class",
        "reqps",
        {
            "{{error_class}}": _rate(
                "gw_webhook_attempts_total", "error_class", 'NS,outcome!="delivered"'
            ),
        },
    ),
    Panel("Time of an attempt", "s", _quantiles("gw_webhook_attempt_duration_seconds")),
    Panel(
        "From event to delivery",
        "s",
        _quantiles("gw_webhook_end_to_end_seconds"),
        "With the retries of slow and failing receivers.",
    ),
    Panel("Due and not sent yet", "short", {"due": 'max(gw_queue_due{NS,queue="deliver"})'}),
    Panel(
        "Oldest that may be sent now",
        "s",
        {"oldest": 'max(gw_queue_oldest_seconds{NS,queue="deliver"})'},
        "What receivers hold back does not count.",
    ),
    Panel(
        "Held back, by reason",
        "short",
        {"{{reason}}": 'max by (reason) (gw_queue_held{NS,queue="deliver"})'},
    ),
    Panel(
        "Endpoints on the way to be disabled",
        "short",
        {"{{percent}} %": "max by (percent) (gw_endpoints_failing{NS})"},
        "100 are disabled.",
    ),
    Panel(
        "Feed: seconds behind",
        "s",
        {"behind": "max(gw_feed_lag_seconds{NS})"},
        "A transaction on the Postgres server holds it up.",
    ),
    Panel(
        "Read replica: in use, and seconds behind",
        "short",
        {
            "processes that use it": "sum(gw_replica_in_use{NS})",
            "seconds behind": "max(gw_replica_lag_seconds{NS})",
        },
        "Only where GATEWAY_READ_DATABASE_URL is set. At 0 processes the log says why.",
    ),
)

ENGINE = (
    Panel(
        "Submits by outcome",
        "reqps",
        {"{{outcome}}": _rate("gw_upstream_submits_total", "outcome")},
    ),
    Panel("Time of a submit", "s", _quantiles("gw_upstream_submit_duration_seconds")),
    Panel(
        "Lookups by outcome",
        "reqps",
        {"{{outcome}}": _rate("gw_upstream_lookups_total", "outcome")},
        "Of submits in doubt. If they grow, connections to the upstream break.",
    ),
    Panel("Job: accept to upstream", "s", _quantiles("gw_job_queue_wait_seconds")),
    Panel("Job: at the upstream", "s", _quantiles("gw_job_upstream_seconds")),
    Panel("Job: accept to end", "s", _quantiles("gw_job_end_to_end_seconds")),
    Panel(
        "Upstream calls",
        "reqps",
        {
            "polls": f"sum(rate(gw_upstream_poll_calls_total{{NS}}[{_RATE}]))",
            "lookups": f"sum(rate(gw_upstream_lookup_calls_total{{NS}}[{_RATE}]))",
        },
    ),
    Panel(
        "Rounds of polling by result",
        "reqps",
        {"{{result}}": _rate("gw_job_polls_total", "result")},
    ),
    Panel(
        "Rows that the sweep found late",
        "reqps",
        {"{{verb}}": _rate("gw_sweep_rescued_total", "verb")},
        "Wake-ups were lost. Near 0 in normal operation.",
    ),
    Panel(
        "Since the last sweep and pruning",
        "s",
        {
            "sweep": "max(gw_sweep_age_seconds{NS})",
            "prune": "max(gw_prune_age_seconds{NS})",
        },
    ),
    Panel(
        "Postgres and Redis",
        "bool",
        {
            "Postgres {{instance}}": "gw_database_up{NS}",
            "Redis {{instance}}": "gw_redis_connected{NS}",
        },
    ),
    Panel(
        "Connections to Postgres",
        "short",
        {
            "{{instance}} {{state}}": "gw_database_pool_connections{NS}",
            "{{instance}} size": "gw_database_pool_size{NS}",
        },
    ),
    Panel(
        "CPU",
        "percentunit",
        {
            "{{instance}}": f"rate(process_cpu_seconds_total{{NS}}[{_RATE}]) and on (instance) gw_build_info"
        },
        "A process uses one core at most.",
    ),
    Panel(
        "Memory",
        "bytes",
        {"{{instance}}": "process_resident_memory_bytes{NS} and on (instance) gw_build_info"},
    ),
    Panel("Clock ahead of Postgres's", "s", {"{{instance}}": "gw_clock_ahead_seconds{NS}"}),
)

BOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "overview": ("Job gateway: overview", OVERVIEW),
    "tenants": ("Job gateway: tenants", TENANTS),
    "webhooks": ("Job gateway: webhooks", WEBHOOKS),
    "engine-and-database": ("Job gateway: engine and database", ENGINE),
}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": row * _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.replace("NS", _NAMESPACE),
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "namespace",
            "label": "Gateway",
            "type": "query",
            "datasource": _SOURCE,
            "query": "label_values(gw_build_info, namespace)",
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def board(name: str) -> str:
    """A board as the JSON that Grafana imports."""
    title, panels = BOARDS[name]
    made = {
        "uid": f"job-gateway-{name}",
        "title": title,
        "tags": ["job-gateway"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "links": [
            {
                "type": "dashboards",
                "tags": ["job-gateway"],
                "title": "Job gateway",
                "asDropdown": True,
            }
        ],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }
    return json.dumps(made, indent=2) + "\n"


def main() -> None:
    """Write every board."""
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(board(name))


if __name__ == "__main__":
    main()
