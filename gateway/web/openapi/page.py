"""The reference page: the document as one HTML file, without scripts and external resources."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from gateway.web.openapi.schemas import Json

_STYLE = Path(__file__).with_name("style.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_CODE = re.compile(r"`([^`]+)`")
_JSON = "application/json"
_EXAMPLE_ID = "019aab0e-4d5c-7cc0-8f7a-0d9f2b6f1a14"

INDEX = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Job gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style>
<main>
<h1>Job gateway</h1>
<ul>
<li><a href="docs">API reference</a></li>
<li><a href="schema/openapi.json">OpenAPI document</a>, and <a href="schema/api.json">that of <code>/api</code></a></li>
<li><a href="health/ready">Readiness</a></li>
</ul>
</main>
</html>
""".encode()


def reference_page(document: Json) -> bytes:
    """The page; every text of the document is escaped."""
    return "\n".join(_Page(document).lines()).encode()


class _Page:
    """Writes the parts of the page in order."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._components: Json = document["components"]
        self._groups: dict[str, list[tuple[str, str, Json]]] = {}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                self._groups.setdefault(operation["tags"][0], []).append((method, path, operation))

    def lines(self) -> Iterator[str]:
        """The whole page."""
        info = self._document["info"]
        yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">'
        yield f"<title>{escape(info['title'])} API</title>"
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield f"<style>{_STYLE}</style>"
        yield from self._contents()
        yield f"<main>\n<h1>{escape(info['title'])} API</h1>"
        yield f"<p>Version {escape(info['version'])}. <a href='schema/openapi.json'>OpenAPI document</a></p>"
        yield _paragraphs(info["description"])
        yield (
            "<p>In the examples <code>$API</code> is the address of the gateway, <code>$KEY</code> a tenant's"
            " or a service's access key, <code>$OKEY</code> an operator's. They need curl 7.82.</p>"
        )
        for tag, operations in self._groups.items():
            yield f"<h2>{escape(tag)}</h2>"
            for method, path, operation in operations:
                yield from self._operation(method, path, operation)
        yield "<h2 id='webhooks'>Webhooks</h2>"
        for name, item in self._document["webhooks"].items():
            yield from self._webhook(name, item["post"])
        yield "<h2 id='types'>Types</h2>"
        for name, shape in self._components["schemas"].items():
            yield from self._type(name, shape)
        yield "</main>\n</html>\n"

    def _contents(self) -> Iterator[str]:
        yield "<nav>\n<h2><a href='#'>Job gateway API</a></h2>"
        for tag, operations in self._groups.items():
            links = [(one["operationId"], one["operationId"]) for _, _, one in operations]
            yield from _links(tag, links)
        webhooks = self._document["webhooks"]
        yield from _links("Webhooks", [(f"webhook-{name}", name) for name in webhooks])
        yield from _links("Types", [(name, name) for name in self._components["schemas"]])
        yield "</nav>"

    def _operation(self, method: str, path: str, operation: Json) -> Iterator[str]:
        yield f"<section id='{escape(operation['operationId'])}'>"
        yield f"<h3>{escape(operation['summary'])}</h3>"
        yield (
            f"<p class='path'><span class='method'>{method.upper()}</span>"
            f"<code>{escape(path)}</code></p>"
        )
        yield _paragraphs(operation["description"])
        yield f"<pre>{escape(self._curl(method, path, operation))}</pre>"
        rows = [
            _row(
                one["name"],
                f"{one['in']}, {self._kind(one['schema'])}",
                one["description"],
                required=one["required"],
            )
            for one in operation.get("parameters", [])
        ]
        yield from _table("Parameters", rows)
        if "requestBody" in operation:
            shape = operation["requestBody"]["content"][_JSON]["schema"]
            yield f"<h4>Body: {self._kind(shape)}</h4>"
            yield from _table("", self._fields(self._resolved(shape)))
        yield from _table(
            "Responses", map(self._response, *zip(*operation["responses"].items(), strict=True))
        )
        yield from self._answer(operation["responses"]["200"])
        yield "</section>"

    def _response(self, status: str, response: Json) -> str:
        response = self._resolved(response)
        content = response.get("content", {})
        kinds = [f"{escape(media)}: {self._kind(one['schema'])}" for media, one in content.items()]
        return _row(status, "<br>".join(kinds), response["description"])

    def _answer(self, response: Json) -> Iterator[str]:
        shape = response["content"].get(_JSON, {}).get("schema", {})
        is_list = shape.get("type") == "array"
        for one in [shape["items"] if is_list else shape, *shape.get("anyOf", ())]:
            for example in self._resolved(one).get("examples", ())[:1]:
                yield f"<pre>{escape(_pretty([example] if is_list else example))}</pre>"
                return

    def _curl(self, method: str, path: str, operation: Json) -> str:
        for one in operation.get("parameters", []):
            if one["in"] == "path":
                value = _EXAMPLE_ID if one["schema"].get("format") == "uuid" else "acme"
                path = path.replace(f"{{{one['name']}}}", value)
        words = [f'curl -s "$API{path}"']
        if method not in ("get", "post") or (method == "post" and "requestBody" not in operation):
            words[0] = words[0].replace("curl -s", f"curl -s -X {method.upper()}")
        for need in operation["security"]:
            key = "$OKEY" if "operatorKey" in need else "$KEY"
            words.append(f'-H "Authorization: {key}"')
        if "requestBody" in operation:
            shape = self._resolved(operation["requestBody"]["content"][_JSON]["schema"])
            body = _pretty(shape.get("examples", [{}])[0]).replace("'", "'\\''")
            words.append(f"--json '{body}'")
        return " ".join(words)

    def _webhook(self, name: str, operation: Json) -> Iterator[str]:
        yield f"<section id='webhook-{escape(name)}'>"
        yield f"<h3>{escape(operation['summary'])}</h3>"
        yield _paragraphs(operation["description"])
        rows = [_row(one["name"], one["in"], one["description"]) for one in operation["parameters"]]
        yield from _table("Headers", rows)
        shape = operation["requestBody"]["content"][_JSON]["schema"]
        resolved = self._resolved(shape)
        yield f"<h4>Body: {self._kind(shape)}</h4>"
        yield from _table("", self._fields(resolved))
        yield f"<pre>{escape(_pretty(resolved['examples'][0]))}</pre>"
        yield "</section>"

    def _type(self, name: str, shape: Json) -> Iterator[str]:
        yield f"<section id='{escape(name)}'>\n<h3><code>{escape(name)}</code></h3>"
        yield _paragraphs(shape.get("description", ""))
        if "properties" in shape:
            yield from _table("", self._fields(shape))
        else:
            yield f"<p>{self._kind({**shape, 'description': ''})}</p>"
        yield "</section>"

    def _fields(self, shape: Json) -> Iterator[str]:
        required = shape.get("required", ())
        for name, one in shape.get("properties", {}).items():
            kind, text = self._kind(one), one.get("description", "")
            yield _row(
                name, kind, text, required=name in required and "additionalProperties" in shape
            )

    def _resolved(self, shape: Json) -> Json:
        if "$ref" not in shape:
            return shape
        *_, part, name = shape["$ref"].split("/")
        return self._components[part][name]

    def _kind(self, shape: Json) -> str:
        """The type of a value, as HTML."""
        if "$ref" in shape:
            name = escape(shape["$ref"].rpartition("/")[2])
            return f"<a href='#{name}'>{name}</a>"
        options = shape.get("anyOf", shape.get("oneOf"))
        if options:
            return " or ".join(map(self._kind, options))
        if "enum" in shape or "const" in shape:
            words = shape.get("enum", [shape.get("const")])
            return " ".join(f"<code>{escape(str(word))}</code>" for word in words)
        if shape.get("type") == "array":
            return f"list of {self._kind(shape['items'])}" + escape(_bounds(shape))
        return escape(_plain(shape) + _bounds(shape))


def _plain(shape: Json) -> str:
    kind: str | list[str] = shape.get("type", "anything")
    words = kind if isinstance(kind, str) else " or ".join(kind)
    return f"{words} ({shape['format']})" if "format" in shape else words


def _bounds(shape: Json) -> str:
    names = {
        "minimum": "from",
        "exclusiveMinimum": "more than",
        "maximum": "to",
        "minLength": "at least",
        "maxLength": "at most",
        "minItems": "at least",
        "maxItems": "at most",
    }
    words = [f"{said} {shape[name]:,}" for name, said in names.items() if name in shape]
    return f", {' '.join(words)}" if words else ""


def _links(title: str, links: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>\n<ul>"
    for anchor, text in links:
        yield f"<li><a href='#{escape(anchor)}'>{escape(text)}</a></li>"
    yield "</ul>"


def _table(title: str, rows: Iterable[str]) -> Iterator[str]:
    kept = list(rows)
    if kept:
        yield f"<h4>{title}</h4>" if title else ""
        yield "<table>\n" + "\n".join(kept) + "\n</table>"


def _row(name: str, kind: str, text: str, *, required: bool = False) -> str:
    """A row of a table; `kind` is HTML, name and text are escaped here."""
    mark = " <span class='required'>required</span>" if required else ""
    cells = (f"<code>{escape(name)}</code>{mark}", kind, _inline(text))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{_inline(part)}</p>" for part in text.strip().split("\n\n") if part)


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _pretty(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, indent=2, ensure_ascii=False)
