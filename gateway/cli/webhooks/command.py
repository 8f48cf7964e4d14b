"""`gateway webhook`: deliveries, through the API, and verification of received webhooks."""

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
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret, read_text
from gateway.cli.webhooks.selection import Selection, with_selection
from gateway.cli.webhooks.show_delivery import DELIVERIES, show_delivery
from gateway.webhooks import TOLERANCE_SECONDS, WebhookVerificationError
from gateway.webhooks import verify as verify_webhook


@click.group(cls=RichGroup)
def webhook() -> None:
    """List deliveries, send them again, and verify a received webhook.

    Needs a tenant's or a service's key in GATEWAY_ACCESS_KEY, and the root of the API in
    GATEWAY_API; `verify` needs neither.
    """


@webhook.command(name="list")
@with_selection
@listing_options
@with_tenant
def list_(api: Api, *, selected: Selection, wanted: ListOptions) -> None:
    """List deliveries, newest first; repeat a filter to match any of its values."""
    show_listing(api, Source("/v1/delivery", "deliveries", selected.fields()), wanted, DELIVERIES)


@webhook.command()
@click.argument("delivery_id", metavar="ID")
@with_tenant
@json_option
def get(api: Api, *, delivery_id: str, as_json: bool) -> None:
    """Print a delivery with every attempt: the request, the response, and what to do about a failure."""
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
    """Send deliveries again: the named ones, or all that match the filters.

    Each is sent with the same webhook-id and the same bytes, even if it was delivered. Deliveries that
    are being sent right now are skipped, and so are test deliveries.
    """
    fields = selected.fields()
    if bool(delivery_ids) == bool(fields):
        raise click.UsageError("Give either delivery IDs or at least one filter.")
    if fields:
        body = {"filter": fields}
        words = Words("Send {}?", "No delivery matches these filters")
        begin(api, "/v1/delivery/resend", body, words, as_json=as_json, **options)
        return
    if options["dry_run"]:
        raise click.UsageError("--dry-run works only with filters.")
    paths = [f"/v1/delivery/{quote(one, safe='')}/resend" for one in delivery_ids]
    show([api.call("POST", path) for path in paths], as_json=as_json, columns=DELIVERIES)


@webhook.command()
@click.argument("endpoint_id", metavar="[ENDPOINT]", required=False)
@click.option("--since", type=moment, required=True, help="Start: 2h (ago), a date, or a time.")
@click.option("--until", type=moment, help="End: 1h (ago), a date, or a time. Default: now.")
@click.option("--missing", is_flag=True, help="Send events for which the endpoint has no delivery.")
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
    """Send what was not delivered since then, to one endpoint or to all receivers.

    This sends deliveries that are exhausted, parked, or waiting for their next attempt. A waiting
    delivery keeps its schedule: the extra attempt uses up none of the later ones. Test deliveries are
    skipped.
    """
    if missing and endpoint_id is None:
        raise click.UsageError("--missing needs an ENDPOINT.")
    call = "replay-missing" if missing else "recover"
    target = "delivery" if endpoint_id is None else f"endpoint/{quote(endpoint_id, safe='')}"
    body = {"since": since} if until is None else {"since": since, "until": until}
    span = f"since {since}" if until is None else f"from {since} until {until}"
    words = Words("Send {}?", f"Nothing undelivered {span}")
    if missing:
        words = Words("Send {}?", f"No event is missing {span}", "event", "events")
    begin(api, f"/v1/{target}/{call}", body, words, as_json=as_json, **options)


@webhook.command()
@click.option("--secret", "secrets", multiple=True, help="whsec_... or a public key whpk_...")
@click.option("--secret-file", type=TEXT_FILE, help="File with the secret.")
@click.option(
    "--header", "lines", multiple=True, metavar="'NAME: VALUE'", help="A header of the webhook."
)
@click.option("--headers-file", type=TEXT_FILE, help="File with one header per line.")
@click.option(
    "--tolerance",
    type=duration,
    default=f"{TOLERANCE_SECONDS}s",
    help="Greatest age of the webhook.",
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

    The exit status is 0 if its signature matches a secret, else 1, with the reason.
    """
    known = [*secrets, *([read_secret(secret_file)] if secret_file else [])]
    if not known:
        raise click.UsageError("Use --secret or --secret-file.")
    if headers_file is not None:
        more = read_text(headers_file).splitlines()
        lines += tuple(line.strip() for line in more if line.strip())
    headers, body = [header(line) for line in lines], sys.stdin.buffer.read()
    try:
        event = verify_webhook(body, headers, known, tolerance=tolerance)
    except WebhookVerificationError as error:
        raise CommandError(f"not verified: {error}") from None
    if as_json:
        show(loads(body), as_json=True)
    say(f"Verified: {event.get('type')}.")
