"""Minimal calls with the client of openapi-python-client, required fields only."""

import sys
from datetime import datetime

from generated import AuthenticatedClient
from generated.api.endpoints import create_endpoint
from generated.api.events import list_events
from generated.api.jobs import create_batch, create_job, get_job, list_jobs
from generated.models import (
    BatchIn,
    BatchJobIn,
    EndpointIn,
    EndpointMade,
    ErrorCode,
    JobIn,
    JobOut,
    Problem,
    Status,
)
from generated.models.batch_job_in_params import BatchJobInParams
from generated.models.job_in_metadata_type_0 import JobInMetadataType0
from generated.models.job_in_params import JobInParams
from generated.models.list_jobs_metadata import ListJobsMetadata


def main(base_url: str, key: str) -> None:
    client = AuthenticatedClient(base_url, key)
    label = JobInMetadataType0.from_dict({"python": "1"})
    job = JobIn("one", "music-ai/chords", JobInParams(), metadata=label)
    made = create_job.sync(client=client, body=job)
    assert made is not None, made
    assert not isinstance(made, Problem), made

    read = get_job.sync(made.id, client=client)
    assert isinstance(read, JobOut), read
    assert read.status is Status.QUEUED
    assert isinstance(read.created_at, datetime)

    listed = list_jobs.sync(
        client=client,
        status=[Status.QUEUED],
        created_after=datetime(2026, 1, 1),  # noqa: DTZ001 - what has no offset is UTC
        metadata=ListJobsMetadata.from_dict({"metadata.python": "1"}),
    )
    assert isinstance(listed, list), listed
    assert [one.id for one in listed] == [made.id]

    parts = [BatchJobIn("two", "music-ai/chords", BatchJobInParams())]
    batch = create_batch.sync(client=client, body=BatchIn("b", parts))
    assert batch is not None, batch
    assert not isinstance(batch, Problem), batch
    assert len(batch.ids) == 1

    endpoint = create_endpoint.sync(client=client, body=EndpointIn("https://1.1.1.1/hook"))
    assert isinstance(endpoint, EndpointMade), endpoint
    assert isinstance(endpoint.secret, str)

    assert list_events.sync(client=client) == []

    refused = create_job.sync(client=client, body=JobIn("", "w", JobInParams()))
    assert isinstance(refused, Problem), refused
    assert refused.code is ErrorCode.BAD_REQUEST
    assert isinstance(refused.errors, list)
    assert [(one.field, one.reason) for one in refused.errors] == [("name", "must not be empty")]
    print("ok")


main(*sys.argv[1:])
