"""`gateway webhook` and `gateway trigger` against a real gateway and its receiver."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.webhooks.signing import parse_secret, sign
from tests.cli.commands import call
from tests.cli.conftest import Running
from tests.cli.test_job import WORKFLOW, script

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"test.ping","timestamp":"2026-01-01T00:00:00.000Z","data":{}}'


def shown(running: Running, *arguments: str, code: int = 0) -> Any:
    result = call(*arguments, "--json", env=running.tenant)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def endpoint(running: Running) -> Iterator[dict[str, Any]]:
    """An endpoint for one type of event, which nothing in these tests causes but `trigger`."""
    url = f"{running.facts['receiver']}/hook/triggered"
    made = shown(running, "endpoint", "create", url, "--event", "credential.rejected")
    httpx.post(f"{running.facts['receiver']}/secrets", json={"triggered": made["secret"]})
    yield made
    shown(running, "endpoint", "delete", made["id"], "--yes")


def triggered(running: Running, endpoint: dict[str, Any], code: int = 0) -> dict[str, Any]:
    (result,) = shown(
        running, "trigger", "credential.rejected", "--endpoint", endpoint["id"], code=code
    )
    return result


def fail_next(running: Running, **behaviour: object) -> None:
    told = {"path": "/hook/triggered", **behaviour}
    httpx.post(f"{running.facts['receiver']}/behave", json=told)


def attempts_of(running: Running, delivery_id: str, count: int) -> list[dict[str, Any]]:
    """The attempts of a delivery, once there are so many."""
    end = time.monotonic() + 30
    while True:
        found = shown(running, "webhook", "get", delivery_id)["attempts"]
        if len(found) >= count:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


class TestTrigger:
    def test_every_endpoint_that_asks_is_sent_a_sample(
        self, running: Running, endpoint: dict[str, Any]
    ) -> None:
        results = shown(running, "trigger", "credential.rejected")

        mine = [one for one in results if one["endpointId"] == endpoint["id"]]
        assert [(one["delivered"], one["response"]["status"]) for one in mine] == [(True, 200)]
        assert len(results) > 1  # the endpoint of `gateway dev` asks for everything

    def test_a_failed_sample_shows_its_reason(
        self, running: Running, endpoint: dict[str, Any]
    ) -> None:
        fail_next(running, status=503)
        arguments = ("trigger", "credential.rejected", "--endpoint", endpoint["id"])

        result = call(*arguments, env=running.tenant)

        assert result.exit_code == 1
        assert ["False" not in result.stdout, "503" in result.stdout] == [True, True]
        assert "http_5xx" in result.stdout
        assert "1 of 1 endpoints did not accept it" in result.stderr

    def test_nobody_asks(self, running: Running) -> None:
        call("tenant", "create", "lonely", env=running.operator)
        key = running.facts["serviceKey"]
        env = {"GATEWAY_API": running.facts["api"], "GATEWAY_ACCESS_KEY": key}

        result = call("trigger", "test.ping", "--tenant", "lonely", env=env)

        assert (result.exit_code, result.stdout) == (0, "")
        assert "No endpoint is subscribed to test.ping" in result.stderr
        assert "`gateway listen`" in result.stderr

    def test_a_type_that_does_not_exist(self, running: Running) -> None:
        assert call("trigger", "job.exploded", env=running.tenant).exit_code == 2


@pytest.fixture
def hook(running: Running) -> Iterator[str]:
    """The id of an endpoint that hears of jobs, and waits an hour before it tries again."""
    url = f"{running.facts['receiver']}/hook/outage"
    given = {"url": url, "events": ["job.succeeded"], "schedule": [3600, 3600], "secret": SECRET}
    headers = {"Authorization": running.tenant["GATEWAY_ACCESS_KEY"]}
    made = httpx.post(f"{running.facts['api']}/v1/endpoint", json=given, headers=headers).json()
    httpx.post(f"{running.facts['receiver']}/secrets", json={"outage": SECRET})
    yield made["id"]
    shown(running, "endpoint", "delete", made["id"], "--yes")


def told_of_job(running: Running, hook: str, *, down: bool = False) -> dict[str, Any]:
    """The delivery that tells of a new job, after its first attempt."""
    if down:
        behaviour = {"path": "/hook/outage", "status": 500}
        httpx.post(f"{running.facts['receiver']}/behave", json=behaviour)
    job = ("job", "submit", WORKFLOW, "--name", "told", "--params", script(), "--wait")
    job_id = shown(running, *job)["id"]
    end = time.monotonic() + 30
    while True:
        listed = shown(running, "webhook", "list", "--endpoint", hook, "--job", job_id)
        if listed and listed[0]["outcome"]:
            return listed[0]
        assert time.monotonic() < end, listed
        time.sleep(0.05)


class TestDeliveries:
    def test_they_are_listed_shown_and_sent_again(self, running: Running, hook: str) -> None:
        ids = [told_of_job(running, hook)["id"] for _ in range(3)]
        mine = ("--endpoint", hook)

        listed = shown(running, "webhook", "list", *mine, "--since", "1h")
        assert [one["id"] for one in listed] == ids[::-1]
        assert len(shown(running, "webhook", "list", *mine, "--limit", "2")) == 2
        assert shown(running, "webhook", "list", *mine, "--status", "parked") == []
        assert shown(running, "webhook", "list", *mine, "--until", "1h") == []
        again = shown(running, "webhook", "resend", *ids[:2])
        assert [one["id"] for one in again] == ids[:2]
        attempts = attempts_of(running, ids[0], 2)
        stamps = [one["requestHeaders"]["webhook-id"] for one in attempts]
        assert stamps[0] == stamps[1]

    def test_they_are_sent_again_by_filter(self, running: Running, hook: str) -> None:
        told_of_job(running, hook)
        delivery_id = told_of_job(running, hook, down=True)["id"]
        arguments = ("webhook", "resend", "--endpoint", hook)

        dry = shown(running, *arguments, "--dry-run")
        assert (dry["count"], dry["statuses"]) == (2, {"pending": 1, "delivered": 1})
        refused = call(*arguments, env=running.tenant)
        assert (refused.exit_code, refused.stdout) == (2, ""), "nobody to ask"
        ended = shown(running, *arguments, "--status", "pending", "--yes", "--wait")
        assert (ended["state"], ended["done"], ended["total"]) == ("done", 1, 1)
        assert attempts_of(running, delivery_id, 2)[1]["status"] == 200
        nothing = call(*arguments, "--outcome", "tls", "--yes", env=running.tenant)
        assert (nothing.exit_code, nothing.stderr) == (0, "No delivery matches these filters.\n")

    def test_an_endpoint_recovers(self, running: Running, hook: str) -> None:
        """The receiver was down, so what it missed waits an hour; and a test failed besides."""
        missed = [told_of_job(running, hook, down=True) for _ in range(2)]
        assert {one["state"] for one in missed} == {"pending"}
        behaviour = {"path": "/hook/outage", "status": 500}
        httpx.post(f"{running.facts['receiver']}/behave", json=behaviour)
        (failed,) = shown(running, "trigger", "job.succeeded", "--endpoint", hook, code=1)
        assert failed["delivered"] is False
        arguments = ("webhook", "recover", hook, "--since", "1h")

        dry = call(*arguments, "--dry-run", env=running.tenant)
        assert dry.stderr == "2 deliveries (2 pending).\n"
        begun = call(*arguments, "--yes", "--wait", env=running.tenant)
        assert begun.stderr.endswith("Handed to the workers: 2 of 2 deliveries.\n")
        for one in missed:
            assert attempts_of(running, one["id"], 2)[1]["status"] == 200
        for whose in (arguments, ("webhook", "recover", "--since", "1h")):
            again = call(*whose, "--yes", env=running.tenant)
            assert again.stderr.startswith("Nothing undelivered since ")
            assert (again.exit_code, "count" in again.stdout) == (0, True)

    def test_deliveries_of_a_disabled_endpoint_are_reported(
        self, running: Running, hook: str
    ) -> None:
        told_of_job(running, hook, down=True)
        headers = {"Authorization": running.tenant["GATEWAY_ACCESS_KEY"]}
        path = f"{running.facts['api']}/v1/endpoint/{hook}/disable"
        httpx.post(path, headers=headers).raise_for_status()

        result = call("webhook", "recover", "--since", "1h", "--yes", env=running.tenant)

        assert (
            "Left out because their endpoint is disabled: 1. Enable the endpoint first."
            in result.stderr
        )

    def test_a_span_has_an_end(self, running: Running, hook: str) -> None:
        told_of_job(running, hook, down=True)
        options = ("--since", "2h", "--until", "1h", "--dry-run")
        assert shown(running, "webhook", "recover", hook, *options)["count"] == 0

    def test_an_endpoint_gets_what_was_before_it(self, running: Running) -> None:
        job = ("job", "submit", WORKFLOW, "--name", "before", "--params", script(), "--wait")
        job_id = shown(running, *job)["id"]
        url = f"{running.facts['receiver']}/hook/late"
        late = shown(running, "endpoint", "create", url, "--event", "job.succeeded")["id"]
        arguments = ("webhook", "recover", late, "--missing", "--since", "1h")

        count = shown(running, *arguments, "--dry-run")["count"]
        assert shown(running, *arguments, "--yes", "--wait")["done"] == count
        owed = ("webhook", "list", "--endpoint", late, "--job", job_id)
        assert len(shown(running, *owed)) == 1
        assert shown(running, *arguments, "--dry-run")["count"] == 0
        shown(running, "endpoint", "delete", late, "--yes")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("resend",),
            ("resend", "x", "--status", "parked"),
            ("resend", "x", "--dry-run"),
            ("list", "--since", "yesterday"),
            ("list", "--since", "2026-01-31T12:00:00"),
            ("list", "--job", "x"),
            ("recover", "x"),
            ("recover", "--since", "1h", "--missing"),
        ],
    )
    def test_wrong_usage(self, running: Running, arguments: tuple[str, ...]) -> None:
        result = call("webhook", *arguments, env=running.tenant)
        assert (result.exit_code, result.stdout) == (2, "")

    def test_one_that_is_not_there(self, running: Running) -> None:
        missing = "0190e3a0-0000-7000-8000-000000000000"
        for arguments in (("get", missing), ("resend", missing)):
            assert call("webhook", *arguments, env=running.tenant).exit_code == 3


class TestVerify:
    def headers(self, at: int) -> list[str]:
        signature = sign([parse_secret(SECRET)], "msg_1", at, BODY)
        return [
            "Content-Type: application/json",
            "Webhook-Id: msg_1",
            f"webhook-timestamp: {at}",
            f"webhook-signature: {signature}",
        ]

    def options(self, at: int) -> list[str]:
        return [word for line in self.headers(at) for word in ("--header", line)]

    def test_a_webhook_that_the_secret_verifies(self, tmp_path: Path) -> None:
        now = int(time.time())
        headers, secret = tmp_path / "headers", tmp_path / "secret"
        headers.write_text("\n".join(self.headers(now)) + "\n")
        secret.write_text(f"{SECRET}\n")

        done = call(
            *("webhook", "verify", "--secret-file", str(secret), "--headers-file", str(headers)),
            "--json",
            stdin=BODY.decode(),
        )

        assert (done.exit_code, done.stderr) == (0, "Verified: test.ping.\n")
        assert json.loads(done.stdout) == json.loads(BODY)

    def test_a_webhook_that_it_does_not_verify(self) -> None:
        now = int(time.time())
        arguments = ("webhook", "verify", "--secret", SECRET)
        changed = call(*arguments, *self.options(now), stdin=BODY.decode() + " ")
        assert (changed.exit_code, changed.stdout) == (1, "")
        assert "not verified: no signature matches" in changed.stderr
        old = call(*arguments, *self.options(now - 3600), stdin=BODY.decode())
        assert (old.exit_code, "too far" in old.stderr) == (1, True)
        old = (*arguments, *self.options(now - 3600), "--tolerance", "2h")
        assert call(*old, stdin=BODY.decode()).exit_code == 0
        assert call(*arguments, stdin=BODY.decode()).exit_code == 1

    @pytest.mark.parametrize("arguments", [(), ("--secret", SECRET, "--header", "lonely")])
    def test_wrong_usage(self, arguments: tuple[str, ...]) -> None:
        assert call("webhook", "verify", *arguments, stdin="").exit_code == 2
