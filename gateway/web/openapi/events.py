"""The schemas of events: for each type the body of its webhook and its entry in the feed."""

from msgspec import UNSET, UnsetType

from gateway.core.events import EVENT_TYPES
from gateway.web.openapi.examples import EVENT_DATA, EVENT_HEAD, JOB_OF_EVENT
from gateway.web.openapi.glossary import describe
from gateway.web.openapi.schemas import Json, reference, schemas_of
from gateway.web.schemas.responses import Id, JobOut, Out, Time

WEBHOOK, FEED = "WebhookEvent", "EventOut"


class JobInEvent(JobOut, kw_only=True):
    """The job as it was when the event happened; its workflow is always the slug."""

    truncated: bool | UnsetType = UNSET


class EndpointNamed(Out):
    """An endpoint by its id."""

    id: Id


class EndpointDisabled(Out):
    """An endpoint that was disabled, and why."""

    endpoint: EndpointNamed
    reason: str


class CredentialNamed(Out):
    """A credential by its version."""

    version: int


class CredentialRejected(Out):
    """A credential that the upstream refused, and its answer."""

    credential: CredentialNamed
    reason: str


class Ping(Out):
    """A test of an endpoint."""

    test: bool
    tenant: str


_DATA: dict[str, type[Out]] = {
    "endpoint.disabled": EndpointDisabled,
    "credential.rejected": CredentialRejected,
    "test.ping": Ping,
}


def event_schemas() -> Json:
    """The schemas of all events by name, and the schemas that they refer to."""
    kinds = [_DATA.get(type_, JobInEvent) for type_ in EVENT_TYPES]
    _, named = schemas_of([*dict.fromkeys(kinds), Time])
    named[JobInEvent.__name__]["properties"]["workflowParams"] |= {"type": ["object", "null"]}
    for type_, kind in zip(EVENT_TYPES, kinds, strict=True):
        named[event_name(type_)] = _event(type_, kind, in_feed=False)
        named[event_name(type_, FEED)] = _event(type_, kind, in_feed=True)
    named[WEBHOOK] = _any_of("The body of a webhook; `type` says which one it is.", WEBHOOK)
    named[FEED] = _any_of("An event of the feed; `type` says which one it is.", FEED)
    return named


def webhooks() -> Json:
    """The section `webhooks` of the document: the POST to receivers, by type."""
    return {type_: {"post": _webhook(type_)} for type_ in EVENT_TYPES}


def event_meaning(type_: str) -> str:
    """When an event of a type is sent, as the end of a sentence."""
    return _MEANINGS[type_]


def event_name(type_: str, family: str = WEBHOOK) -> str:
    """The name of the schema for one type of event."""
    words = "".join(word.title() for word in type_.split("."))
    return f"{words}Event" if family == WEBHOOK else f"{words}FeedEvent"


def _event(type_: str, kind: type[Out], *, in_feed: bool) -> Json:
    about_job = type_ not in _DATA
    example: Json = {"type": type_, "timestamp": EVENT_HEAD["timestamp"]}
    properties: Json = {
        "type": {"type": "string", "const": type_},
        "timestamp": {"type": "string", "format": "date-time"},
    }
    if in_feed:
        # A sample event has no job.
        job_id: Json = {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}
        head: Json = {"id": {"type": "string", "format": "uuid"}}
        properties = head | properties | {"tenant": {"type": "string"}, "jobId": job_id}
        example = {"id": EVENT_HEAD["id"], **example, "tenant": EVENT_HEAD["tenant"]}
        example["jobId"] = JOB_OF_EVENT if about_job else None
    properties["data"] = reference(kind.__name__)
    for name, shape in properties.items():
        shape["description"] = describe("Event", name)
    return {
        "title": event_name(type_, FEED if in_feed else WEBHOOK),
        "type": "object",
        "description": f"`{type_}`: {_MEANINGS[type_]}",
        "properties": properties,
        "required": list(properties),
        "examples": [example | {"data": EVENT_DATA[type_]}],
    }


_MEANINGS = {
    "job.started": "the upstream started a job.",
    "job.succeeded": "a job succeeded.",
    "job.failed": "a job failed, was cancelled or ran out of time.",
    "job.deleted": "a job was deleted.",
    "endpoint.disabled": "an endpoint was disabled.",
    "credential.rejected": "the upstream refused the tenant's credential, so its jobs wait.",
    "test.ping": "a test of an endpoint.",
}


def _any_of(text: str, family: str) -> Json:
    names = {type_: event_name(type_, family) for type_ in EVENT_TYPES}
    mapping = {type_: reference(name)["$ref"] for type_, name in names.items()}
    return {
        "title": family,
        "description": text,
        "oneOf": [reference(name) for name in names.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def _webhook(type_: str) -> Json:
    name = event_name(type_)
    headers = (
        ("webhook-id", "The id of the event, the same at every attempt: process each id once."),
        ("webhook-timestamp", "When this attempt was made, in seconds since 1970."),
        ("webhook-signature", "One signature for each live secret, separated by spaces."),
    )
    return {
        "operationId": f"on{name}",
        "summary": f"{type_}: {_MEANINGS[type_]}",
        "description": "Answer with any 2xx within 15 seconds; otherwise the delivery is retried.",
        "tags": ["Webhooks"],
        "parameters": [
            {
                "name": header,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for header, text in headers
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(name)}},
        },
        "responses": {"2XX": {"description": "Delivered."}},
        "security": [],
    }
