"""Examples by the name of their type; a test checks them against their schemas."""

from typing import Any

_JOB_ID = "019aab0e-4d5c-7cc0-8f7a-0d9f2b6f1a14"
_ENDPOINT_ID = "019aab10-0b51-7b0e-9d3c-5c6f0a9be001"
_DELIVERY_ID = "019aab11-7a52-7d1f-8e4b-64f1c2d3e4a5"
_EVENT_ID = "019aab0e-4d5c-8a01-9b02-7c1d2e3f4a5b"
_AT = "2026-11-30T08:15:00.000Z"
_LATER = "2026-11-30T08:15:42.180Z"

_GATEWAY: dict[str, Any] = {
    "tenant": "acme",
    "state": "succeeded",
    "upstreamId": "5a7d6d0e-1c53-4c0e-9a57-0a1f63a6d2b1",
    "submitAttempts": 1,
    "nextAttemptAt": None,
    "queuePosition": None,
    "waitsFor": None,
    "version": 4,
    "retryOf": None,
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
}
JOB: dict[str, Any] = {
    "id": _JOB_ID,
    "app": "Acme",
    "name": "Stems of order 4711",
    "batchName": None,
    "workflow": "music-ai/stems-vocals-accompaniment",
    "workflowParams": {"inputUrl": "https://example.com/song.mp3"},
    "status": "SUCCEEDED",
    "result": {"vocals": "https://example.com/vocals.wav"},
    "error": None,
    "metadata": {"order": "4711"},
    "createdAt": _AT,
    "startedAt": "2026-11-30T08:15:01.200Z",
    "completedAt": _LATER,
    "gateway": _GATEWAY,
}
_ENDPOINT: dict[str, Any] = {
    "id": _ENDPOINT_ID,
    "url": "https://hooks.example.com/jobs",
    "events": ["job.succeeded", "job.failed"],
    "description": "orders",
    "algorithm": "v1",
    "headers": {},
    "rateLimit": None,
    "concurrency": None,
    "schedule": None,
    "disabled": False,
    "disabledReason": None,
    "failingSince": None,
    "failures": 0,
    "createdAt": _AT,
    "updatedAt": _AT,
}

EXAMPLES: dict[str, list[Any]] = {
    "JobIn": [
        {
            "name": "Stems of order 4711",
            "workflow": "music-ai/stems-vocals-accompaniment",
            "params": {"inputUrl": "https://example.com/song.mp3"},
            "metadata": {"order": "4711"},
        }
    ],
    "BatchIn": [
        {
            "name": "orders-2026-11-30",
            "jobs": [
                {
                    "name": "Stems of order 4711",
                    "workflow": "music-ai/stems-vocals-accompaniment",
                    "params": {"inputUrl": "https://example.com/song.mp3"},
                }
            ],
        }
    ],
    "JobsBulkIn": [
        {
            "filter": {"status": ["FAILED"], "createdAfter": "2026-11-30T00:00:00Z"},
            "dryRun": True,
        }
    ],
    "EndpointIn": [
        {"url": "https://hooks.example.com/jobs", "events": ["job.succeeded", "job.failed"]}
    ],
    "EndpointChange": [{"events": ["job.failed"], "rateLimit": 20}],
    "SampleIn": [{"type": "job.succeeded"}],
    "DisablingIn": [{"reason": "The receiver moves tonight."}],
    "SecretRotationIn": [{"overlapSeconds": 86400}],
    "SinceIn": [{"since": "2026-11-30T06:00:00Z", "dryRun": True}],
    "ResendIn": [{"filter": {"endpoint": [_ENDPOINT_ID], "status": ["exhausted"]}}],
    "TenantIn": [{"slug": "acme", "name": "Acme", "limits": {"maxQueued": 5000}}],
    "TenantChange": [{"limits": {"maxQueued": 10000}}],
    "CredentialIn": [{"apiKey": "the-tenants-key-of-the-upstream"}],
    "TenantKeyIn": [{"name": "orders service", "scopes": ["jobs:read", "jobs:write"]}],
    "KeyIn": [{"kind": "service", "name": "support desk", "scopes": ["jobs:read"]}],
    "PortalLinkIn": [
        {
            "readOnly": True,
            "pages": ["jobs", "deliveries"],
            "returnUrl": "https://app.example.com/orders",
            "theme": {"accent": "#1f4fd8", "mode": "light"},
        }
    ],
    "PortalLookIn": [
        {
            "accent": "#1f4fd8",
            "logoUrl": "https://cdn.example.com/logo.svg",
            "mode": "auto",
            "frameAncestors": ["https://app.example.com"],
        }
    ],
    "PortalLinkOut": [
        {
            "url": "https://jobs.example.com/portal/link?token=jgl_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "expiresAt": "2026-11-30T08:20:00.000Z",
        }
    ],
    "HitOut": [
        {
            "kind": "job",
            "id": _JOB_ID,
            "tenant": "acme",
            "label": "Stems of order 4711 · succeeded",
            "path": f"/v1/job/{_JOB_ID}",
        }
    ],
    "SessionOut": [
        {
            "id": "019aab13-1c20-7a55-9f10-2b7c6d5e4f30",
            "kind": "console",
            "role": "support",
            "who": "Ann",
            "keyId": "0123456789abcdef",
            "tenant": None,
            "pages": [],
            "address": "203.0.113.7",
            "createdAt": _AT,
            "lastSeenAt": _LATER,
            "expiresAt": "2026-11-30T20:15:00.000Z",
        }
    ],
    "RotationIn": [{"overlapSeconds": 3600}],
    "SuspensionIn": [{"reason": "invoice 2026-11 is open"}],
    "JobOut": [JOB],
    "JobMade": [{"id": _JOB_ID}],
    "JobStatus": [{"id": _JOB_ID, "status": "SUCCEEDED"}],
    "BatchMade": [{"batchName": "orders-2026-11-30", "ids": [_JOB_ID]}],
    "EndpointOut": [_ENDPOINT],
    "DeliveryOut": [
        {
            "id": _DELIVERY_ID,
            "eventId": _EVENT_ID,
            "type": "job.succeeded",
            "jobId": _JOB_ID,
            "endpointId": _ENDPOINT_ID,
            "url": "https://hooks.example.com/jobs",
            "state": "delivered",
            "outcome": "delivered",
            "attemptCount": 1,
            "nextAttemptAt": None,
            "lastStatus": 200,
            "lastError": None,
            "resentAt": None,
            "test": False,
            "createdAt": _LATER,
            "completedAt": "2026-11-30T08:15:42.260Z",
        }
    ],
    "Problem": [
        {
            "type": "about:blank",
            "title": "Bad request",
            "status": 400,
            "detail": "priority: must be at most 9, not 10",
            "code": "BAD_REQUEST",
            "message": "priority: must be at most 9, not 10",
            "requestId": "019aab12-5b62-7c2d-8c3d-1f2e3d4c5b6a",
            "errors": [{"field": "priority", "reason": "must be at most 9, not 10"}],
        }
    ],
}

# The data of events, by type.
EVENT_DATA: dict[str, dict[str, Any]] = {
    "job.started": JOB | {"status": "STARTED", "result": None, "completedAt": None},
    "job.succeeded": JOB,
    "job.failed": JOB
    | {
        "status": "FAILED",
        "result": None,
        "error": {
            "code": "BAD_INPUT",
            "title": "Bad input",
            "message": "The file cannot be read.",
            "origin": "caller",
            "retryable": False,
        },
        "gateway": _GATEWAY | {"state": "failed"},
    },
    "job.deleted": JOB,
    "endpoint.disabled": {"endpoint": {"id": _ENDPOINT_ID}, "reason": "It answered 410 Gone."},
    "credential.rejected": {
        "credential": {"version": 1},
        "reason": "HTTP 401: The API key is not valid.",
    },
    "test.ping": {"test": True, "tenant": "acme"},
}
EVENT_HEAD = {"id": _EVENT_ID, "tenant": "acme", "timestamp": _LATER}
JOB_OF_EVENT = _JOB_ID
