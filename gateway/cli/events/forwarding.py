"""Print each webhook that `gateway listen` follows, and post it to the local server."""

import asyncio
import time
from collections import Counter
from datetime import datetime
from typing import NamedTuple

import click
import httpx

from gateway import __version__
from gateway.cli.events.following import HeardWebhook
from gateway.cli.terminal.output import print_coloured, print_json
from gateway.core.text.printable import printable
from gateway.core.webhooks.signing import SigningKey, sign

_TIMEOUT_SECONDS = 15.0


class ForwardedAnswer(NamedTuple):
    """The local server's response, or why there is none, and how long it took."""

    status: int | None
    error: str | None
    ms: float

    @property
    def is_accepted(self) -> bool:
        """Whether the response has a status of 2xx."""
        return self.status is not None and httpx.codes.is_success(self.status)


class ForwardTarget(NamedTuple):
    """The URL to forward webhooks to, and the key that signs them."""

    url: str
    key: SigningKey


class Forwarder:
    """Signs, posts and prints webhooks one by one; without a target it only prints."""

    def __init__(self, target: ForwardTarget | None, *, as_json: bool) -> None:
        self._target = target
        self._as_json = as_json
        self._counts = Counter[str]()

    @property
    def summary(self) -> str:
        """The counts of all webhooks in one line."""
        counts = self._counts
        again = f"resent: {counts['again']}"
        if self._target is None:
            return f"received: {counts['all']}, {again}"
        refused = counts["all"] - counts["accepted"]
        return f"accepted: {counts['accepted']}, not accepted: {refused}, {again}"

    async def run(self, webhooks: "asyncio.Queue[HeardWebhook]") -> None:
        """Handle webhooks until cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            while True:
                webhook = await webhooks.get()
                answer = self._target and await _post(client, self._target, webhook)
                self._counts["all"] += 1
                self._counts["again"] += webhook.again
                self._counts["accepted"] += answer is not None and answer.is_accepted
                self._show(webhook, answer)

    def _show(self, webhook: HeardWebhook, answer: ForwardedAnswer | None) -> None:
        now = datetime.now().astimezone()
        if self._as_json:
            print_json(
                {
                    "time": now.isoformat(timespec="milliseconds"),
                    "type": webhook.type,
                    "id": webhook.id,
                    "jobId": webhook.job_id,
                    "again": webhook.again,
                    **(ForwardedAnswer(None, None, 0) if answer is None else answer)._asdict(),
                }
            )
            return
        what = f"{webhook.type:<19}  {webhook.id}  {webhook.job_id or '-':<36}"
        result = "" if answer is None else _result(answer)
        again = "again" if webhook.again else ""
        why = printable(answer.error) if answer is not None and answer.error else ""
        parts = (f"{now:%H:%M:%S}", printable(what), result, again, why)
        print_coloured("  ".join(filter(None, parts)).rstrip())


async def _post(
    client: httpx.AsyncClient, target: ForwardTarget, webhook: HeardWebhook
) -> ForwardedAnswer:
    started, now = time.perf_counter(), int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"job-gateway/{__version__}",
        "webhook-id": webhook.id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign([target.key], webhook.id, now, webhook.body),
    }
    status, error = None, None
    try:
        answer = await client.post(target.url, content=webhook.body, headers=headers)
        status = answer.status_code
    except httpx.HTTPError as failure:
        error = str(failure) or type(failure).__name__
    return ForwardedAnswer(status, error, round((time.perf_counter() - started) * 1000, 1))


def _result(answer: ForwardedAnswer) -> str:
    said = click.style(
        f"{answer.status or 'failed':<6}", fg="green" if answer.is_accepted else "red"
    )
    return f"{said}  {answer.ms:g} ms"
