"""`gateway webhook`: what was delivered, through the API, and proof of what was received."""

import sys
from pathlib import Path
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.bulk import Words, begin, operation_options
from gateway.cli.terminal.exact_json import loads
from gateway.cli.terminal.failures import CommandError
from gateway.cli.terminal.option_types import duration, header, moment
from gateway.cli.terminal.output import json_option, say, show
from gateway.cli.terminal.table import Column
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret, read_text
from gateway.cli.webhooks.delivery_story import show_delivery
from gateway.cli.webhooks.selection import Selection, with_selection
from gateway.webhooks import TOLERANCE_SECONDS, WebhookVerificationError
from gateway.webhooks import verify as verify_webhook

_COLUMNS = (
    Column("id"),
    Column("type", rank=3),
    Column("state", rank=1),
    Column("attemptCount", rank=6, title="ATTEMPTS"),
    Column("outcome", rank=2),
    Column("lastStatus", rank=7),
    Column("nextAttemptAt", rank=4),
    Column("url", least=15, rank=5),
    Column("createdAt", rank=8),
)


@click.group(cls=RichGroup)
def webhook() -> None:
    """See what was delivered, send it again, and verify it.

    Needs a tenant's or a service's key in GATEWAY_ACCESS_KEY, and the root of the API in
    GATEWAY_API; `verify` needs neither.
    """


@webhook.command(name="list")
@with_selection
@listing_options
@with_tenant
def list_(api: Api, *, selected: Selection, wanted: ListOptions) -> None:
    """List deliveries, newest first; a filter given twice means either."""
    show_listing(api, Source("/v1/delivery", "deliveries", selected.fields()), wanted, _COLUMNS)


@webhook.command()
@click.argument("delivery_id", metavar="ID")
@with_tenant
@json_option
def get(api: Api, *, delivery_id: str, as_json: bool) -> None:
    """Print a delivery with every attempt: what was sent, what came back, and what to do about it."""
    found = api.call("GET", f"/v1/delivery/{quote(delivery_id, safe='')}")
    if as_json:
        show(found, as_json=True)
    else:
        show_delivery(found)


@webhook.command()
@click.argument("delivery_ids", metavar="[ID]...", nargs=-1)
@with_selection
@operation_options
@with_tenant
@json_option
def resend(
    api: Api,
    *,
    delivery_ids: tuple[str, ...],
    selected: Selection,
    as_json: bool,
    **options: bool,
) -> None:
    """Send deliveries again: those named, or all that the filters show.

    Delivered or not, each goes out with the same webhook-id and the same bytes. What is being sent
    just now is left alone, and so are tests.
    """
    fields = selected.fields()
    if bool(delivery_ids) == bool(fields):
        raise click.UsageError("Name either deliveries by ID, or at least one filter.")
    if fields:
        body = {"filter": fields}
        words = Words("Send {}?", "No delivery matches these filters")
        begin(api, "/v1/delivery/resend", body, words, as_json=as_json, **options)
        return
    if options["dry_run"]:
        raise click.UsageError("--dry-run is for filters.")
    paths = [f"/v1/delivery/{quote(one, safe='')}/resend" for one in delivery_ids]
    show([api.call("POST", path) for path in paths], as_json=as_json, columns=_COLUMNS)


@webhook.command()
@click.argument("endpoint_id", metavar="[ENDPOINT]", required=False)
@click.option("--since", type=moment, required=True, help="From when on: 2h ago, or a time.")
@click.option("--until", type=moment, help="Until when: 1h ago, or a time; else until now.")
@click.option(
    "--missing", is_flag=True, help="Send events that it was never sent, instead of deliveries."
)
@operation_options
@with_tenant
@json_option
def recover(
    api: Api,
    *,
    endpoint_id: str | None,
    since: str,
    until: str | None,
    missing: bool,
    as_json: bool,
    **options: bool,
) -> None:
    """Send an endpoint, or else all receivers, what was not delivered since then.

    That is what failed, was parked, or waits for its next attempt. What waits keeps its schedule: an
    attempt that is brought forward takes none of the later ones away. Tests are left alone.
    """
    if missing and endpoint_id is None:
        raise click.UsageError("--missing needs an ENDPOINT.")
    call = "replay-missing" if missing else "recover"
    whose = "delivery" if endpoint_id is None else f"endpoint/{quote(endpoint_id, safe='')}"
    body = {"since": since} if until is None else {"since": since, "until": until}
    span = f"since {since}" if until is None else f"from {since} until {until}"
    words = Words("Send {}?", f"Nothing undelivered {span}")
    if missing:
        words = Words("Send {}?", f"No event is missing {span}", "event", "events")
    begin(api, f"/v1/{whose}/{call}", body, words, as_json=as_json, **options)


@webhook.command()
@click.option("--secret", "secrets", multiple=True, help="whsec_... or a public key whpk_...")
@click.option("--secret-file", type=TEXT_FILE, help="File with the secret, instead.")
@click.option("--header", "lines", multiple=True, metavar="'NAME: VALUE'", help="One header.")
@click.option("--headers-file", type=TEXT_FILE, help="File with a header a line.")
@click.option(
    "--tolerance", type=duration, default=f"{TOLERANCE_SECONDS}s", help="Age that is let pass."
)
@json_option
def verify(
    *,
    secrets: tuple[str, ...],
    secret_file: Path | None,
    lines: tuple[str, ...],
    headers_file: Path | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Verify the webhook whose body is on standard input.

    The exit status is 0 when a secret proves it, and 1 with the reason when none does.
    """
    known = [*secrets, *([read_secret(secret_file)] if secret_file else [])]
    if not known:
        raise click.UsageError("Give --secret or --secret-file.")
    if headers_file is not None:
        told = read_text(headers_file).splitlines()
        lines += tuple(line.strip() for line in told if line.strip())
    headers, body = [header(line) for line in lines], sys.stdin.buffer.read()
    try:
        event = verify_webhook(body, headers, known, tolerance=tolerance)
    except WebhookVerificationError as error:
        raise CommandError(f"not verified: {error}") from None
    if as_json:
        show(loads(body), as_json=True)
    say(f"Verified: {event.get('type')}.")
