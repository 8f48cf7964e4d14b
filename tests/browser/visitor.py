"""What browser tests use: the gateway with jobs in any state, and visitors who report each problem."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

from tests.browser.chromium import FOLDER
from tests.cli.commands import call, run, settings_for
from tests.cli.conftest import Running

_SECONDS = 60
_ENDED = ("SUCCEEDED", "FAILED")
_LOCAL = frozenset({"data", "blob", "about"})
_GRAVE = frozenset({"serious", "critical"})
_WIDTH, _HEIGHT = 1280, 800
# A Chromium that is told of an error status writes that into its console, too.
_STATUS = "Failed to load resource"


class Gateway:
    """A running gateway with its simulator."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.api: str = running.facts["api"]
        self.operator_key: str = running.facts["operatorKey"]
        self._keys: dict[str, str] = {"operator": self.operator_key}

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What `gateway` prints as the operator."""
        result = call(*arguments, env=self.running.operator, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def key(self, role: str) -> str:
        """An operator key of a role: viewer, support or operator."""
        if role not in self._keys:
            given = {"kind": "operator", "name": role, "role": role}
            made = self.admin("POST", "/key", given)
            self._keys[role] = made["accessKey"]
        return self._keys[role]

    def console_link(self) -> str:
        """A one-time link into the console, as `gateway dev` prints it."""
        facts = self.running.facts
        env = settings_for(facts["databaseUrl"], facts["redisUrl"])
        env["GATEWAY_PUBLIC_URL"] = self.api
        env["GATEWAY_MASTER_KEY"] = (self.running.folder / "master.key").read_text()
        made = run("console", "link", env=env)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of /admin/v1."""
        return self.send(method, f"/admin/v1{path}", self.operator_key, body)

    def tenant(self, **changes: Any) -> "TenantOfGateway":
        """A tenant of this test alone, whose jobs the simulator takes."""
        slug = f"t-{uuid4().hex[:8]}"
        self.admin("POST", "/tenant", {"slug": slug, "name": slug.title(), **changes})
        self.admin("PUT", f"/tenant/{slug}/credential", {"apiKey": "sim-acme"})
        key = self.admin("POST", f"/tenant/{slug}/key", {"name": "test"})["accessKey"]
        return TenantOfGateway(self, slug, key)

    def send(self, method: str, path: str, key: str, body: Any) -> Any:
        given = {"Authorization": key}
        options = {} if body is None else {"json": body}
        answer = httpx.request(method, f"{self.api}{path}", headers=given, timeout=60, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


class TenantOfGateway:
    """One tenant, and jobs that end as they are told to."""

    def __init__(self, gateway: Gateway, slug: str, key: str) -> None:
        self.gateway = gateway
        self.slug = slug
        self.key = key

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of the API to the tenant."""
        return self.gateway.send(method, path, self.key, body)

    def job(self, name: str = "one", *, error: str = "", **fields: Any) -> str:
        """The id of a job that has ended: with an error of that code, or well."""
        script: dict[str, Any] = {"queueSeconds": 0, "runSeconds": 0.1}
        if error:
            script |= {"outcome": "FAILED", "errorCode": error}
        return self.ended(self.waiting(name, script, **fields))

    def waiting(self, name: str, script: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """The id of a job that was just sent; without a script it stays in the upstream's queue."""
        params = {"simulate": script or {"queueSeconds": 3600}, **fields.pop("params", {})}
        body = {"name": name, "workflow": "music-ai/generate-chords", "params": params, **fields}
        return self.send("POST", "/v1/job", body)["id"]

    def ended(self, job_id: str) -> str:
        """The same id, once the job has ended."""
        end = time.monotonic() + _SECONDS
        while self.send("GET", f"/v1/job/{job_id}?wait=10")["status"] not in _ENDED:
            assert time.monotonic() < end, f"job {job_id} does not end"
        return job_id


class Visitors:
    """Makes visitors, and collects what their browsers report."""

    def __init__(self, browser: Browser, gateway: Gateway) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._gateway = gateway
        self._contexts: list[BrowserContext] = []

    def new(self, role: str = "", **options: Any) -> "Visitor":
        """Somebody with a browser of their own, signed in as `role` if it is given."""
        size = {"width": _WIDTH, "height": _HEIGHT}
        context = self._browser.new_context(
            base_url=self._gateway.api, **{"viewport": size, "reduced_motion": "reduce", **options}
        )
        self._contexts.append(context)
        visitor = Visitor(context.new_page(), self._gateway, self.problems)
        if role:
            visitor.sign_in(role)
        return visitor

    def close(self) -> None:
        """Close all browsers."""
        for context in self._contexts:
            context.close()


class Visitor:
    """Somebody in front of the console; `page` is Playwright's."""

    def __init__(self, page: Page, gateway: Gateway, problems: list[str]) -> None:
        self.page = page
        self.gateway = gateway
        self._problems = problems
        self._expected: set[int] = set()
        self._allowed = {gateway.api}
        self._expected_texts: list[str] = []
        page.set_default_timeout(30_000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: problems.append(f"error on {page.url}: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)

    def sign_in(self, role: str) -> None:
        """Sign in with a key of a role; the form is sent without drawing its page, which takes longer."""
        answer = self.page.request.post(
            "/console/sign-in", form={"key": self.gateway.key(role)}, max_redirects=0
        )
        assert answer.status == 303, answer.text()

    def expect(self, *statuses: int) -> None:
        """Allow answers of these error statuses."""
        self._expected.update(statuses)

    def allow(self, origin: str) -> None:
        """Allow requests to another origin, too."""
        self._allowed.add(origin)

    def expect_console(self, text: str) -> None:
        """Allow messages of the browser's console that have this text."""
        self._expected_texts.append(text)

    def open(self, path: str) -> Page:
        """Go to a path of the console; an error is a problem unless it is expected."""
        self.page.goto(path)
        return self.page

    def violations(self) -> list[str]:
        """What axe finds wrong for people with disabilities, if it is serious; needs `bypass_csp`."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.add_script_tag(path=FOLDER / "node_modules/axe-core/axe.min.js")
        found: Sequence[Any] = self.page.evaluate("axe.run().then((all) => all.violations)")
        return [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:5]}"
            for one in found
            if one["impact"] in _GRAVE
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        told = [f"Status Error Code {status}" for status in self._expected]  # by htmx
        if any(text in message.text for text in (_STATUS, *told, *self._expected_texts)):
            return
        if message.type in ("error", "warning"):
            self._problems.append(f"{message.type} on {self.page.url}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in _LOCAL and f"{parts.scheme}://{parts.netloc}" not in self._allowed:
            self._problems.append(f"{self.page.url} asks {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected:
            self._problems.append(f"{response.url} is answered {response.status}")
