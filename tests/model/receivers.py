"""Receivers of webhooks that answer in many ways, and remember."""

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.webhooks.receiver_probe import ReceiverProbe
from gateway.core.webhooks.signing import SignatureError, parse_secret, verify
from gateway.ports import Reply, SendFault, Webhook
from tests.fakes import FixedClock


def _reply(status: int, *headers: tuple[str, str], body: bytes = b"") -> Reply:
    return Reply(status, headers, body, 0.01)


ANSWERS: dict[str, Reply | SendFault] = {
    "ok": _reply(200),
    "empty": _reply(204),
    "moved": _reply(302, ("location", "https://elsewhere.example.com")),
    "bad": _reply(400),
    "gone": _reply(410),
    "broken": _reply(500, body=b"\x00\xff"),
    "overloaded": _reply(503, ("retry-after", "90")),
    "away": SendFault("connect", "connection refused", 0.01),
    "answer lost": SendFault("timeout", "no answer in time", 15.0),
}


@dataclass
class Receiver:
    """What one URL of a tenant gets; `hows` is gone through again and again."""

    slug: str
    secrets: Iterable[str]
    hows: Sequence[str] = ("ok",)
    bodies: dict[str, bytes] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # webhook ids that were answered with success


class Receivers:
    """All of them; `at_port` is awaited after each call was carried out."""

    def __init__(self, time: FixedClock, at_port: Callable[[str], Awaitable[None]]) -> None:
        self._time = time
        self._at_port = at_port
        self.at: dict[str, Receiver] = {}
        self.breaches: list[str] = []
        self._calls: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def probe(self, url: str, within: float) -> ReceiverProbe:
        return ReceiverProbe(url_fault="" if url in self.at else f"nobody is at {url}")

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        receiver, headers = self.at[webhook.url], dict(webhook.headers)
        id_ = headers["webhook-id"]
        if receiver.bodies.setdefault(id_, webhook.body) != webhook.body:
            self.breaches.append(f"webhook {id_} has another body than before")
        self._judge(receiver, webhook)
        turn = self._calls[webhook.url, id_]
        self._calls[webhook.url, id_] += 1
        answer = ANSWERS[receiver.hows[turn % len(receiver.hows)]]
        if isinstance(answer, Reply) and answer.status < 300:
            receiver.taken.add(id_)
        await self._at_port("send")
        return answer

    async def refusal(self, url: str) -> str | None:
        return None

    def _judge(self, receiver: Receiver, webhook: Webhook) -> None:
        data = json.loads(webhook.body)["data"]
        if "gateway" in data and data["gateway"]["tenant"] != receiver.slug:
            self.breaches.append(f"{receiver.slug} received what is not its: {webhook.body!r}")
        try:
            verify(
                [parse_secret(secret) for secret in receiver.secrets],
                dict(webhook.headers),
                webhook.body,
                now=self._time.now().timestamp(),
                tolerance=1000,
            )
        except SignatureError as error:
            self.breaches.append(f"{receiver.slug} cannot trust {webhook.url}: {error}")
