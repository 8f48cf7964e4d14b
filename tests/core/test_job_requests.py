"""Code that repeats the requests of a job: hostile texts stay data in a shell, in Python and in JavaScript."""

import ast
import json
import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.job_requests import MAX_BODY, CodeSample, code_samples, create_body
from gateway.core.model import Job
from tests.builders import job_of
from tests.project.test_verify_snippets import node

HOSTILE = (
    "'; rm -rf / #",
    '"; $(touch /tmp/x) `id` $KEY !! \\',
    "'''\"\"\"\n\\' {} %s ${process.env.KEY} */ // </script>",
    "\u202e\x1b[31m\x7f\x9b\u2028\u2029\U0001f600",
    "-d @/etc/passwd",
    "\ud800",
)
_TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(_TEXTS, _VALUES, max_size=4)
_JOBS = st.builds(
    lambda name, batch, params, metadata, url, spaced: job_of(
        name=name,
        workflow=name,
        batch_name=batch,
        params=json.dumps(params, ensure_ascii=False, indent=spaced),
        metadata=json.dumps(metadata, ensure_ascii=False),
        callback_url=url,
        copy_results_to=None,
        priority=0,
    ),
    _TEXTS,
    st.none() | _TEXTS,
    _OBJECTS,
    _OBJECTS,
    st.none() | _TEXTS,
    st.sampled_from((None, 2, "\t")),
)


def wanted(job: Job) -> dict[str, Any]:
    """The request as values."""
    fields = {
        "name": job.name,
        "workflow": job.workflow,
        "params": json.loads(job.params),
        "metadata": json.loads(job.metadata) or None,
        "batchName": job.batch_name or None,
        "callbackUrl": job.callback_url or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def sample(job: Job, act: str, language: str) -> CodeSample:
    return next(
        one
        for one in code_samples(job)
        if one.act == act and one.language.lower().startswith(language)
    )


@given(_JOBS)
@settings(max_examples=200, deadline=None)
def test_the_body_is_one_line_of_ascii_with_the_same_values(job: Job) -> None:
    body = create_body(job)
    assert body.isascii()
    assert body.isprintable()
    assert json.loads(body) == wanted(job)


@given(_JOBS)
@settings(max_examples=200, deadline=None)
def test_a_shell_reads_the_body_as_one_word(job: Job) -> None:
    words = shlex.split(sample(job, "create", "curl").text)
    assert words[:5] == ["curl", "$API/v1/job", "-H", "Authorization: $KEY", "--json"]
    assert len(words) == 6
    assert json.loads(words[5]) == wanted(job)


@given(_JOBS)
@settings(max_examples=200, deadline=None)
def test_python_reads_the_body_as_one_text(job: Job) -> None:
    tree = ast.parse(sample(job, "create", "python").text)
    call = next(one for one in ast.walk(tree) if isinstance(one, ast.Call) and one.keywords)
    content = next(one.value for one in call.keywords if one.arg == "content")
    assert json.loads(ast.literal_eval(content)) == wanted(job)
    names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    assert names == {"os", "httpx", "answer", "print"}


def test_a_real_shell_runs_nothing_of_a_name() -> None:
    for name in HOSTILE[:-1]:  # no program takes half of a surrogate pair
        text = sample(job_of(name=name), "create", "curl").text
        script = f'curl() {{ printf "%s" "$5"; }}; API=a; KEY=k; {text}'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["name"] == name


def test_node_reads_the_body_as_one_text() -> None:
    """One run of Node for all texts: it prints what each sample would send."""
    jobs = [job_of(name=name, params=json.dumps({name: [name]})) for name in HOSTILE]
    samples = [sample(job, "create", "node").text for job in jobs]
    script = [
        "const said = [];",
        "globalThis.fetch = async (url, options) => {",
        "  said.push([url, options]); return {status: 200, json: async () => ({})}; };",
        "console.log = () => {};",
        *("{\n" + text + "}" for text in samples),
        "process.stdout.write(JSON.stringify(said));",
    ]
    done = subprocess.run(
        [node(), "--input-type=module", "-"],
        input="\n".join(script),
        env={"API": "http://gateway", "KEY": "secret"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert len(said) == len(jobs)
    for job, (url, options) in zip(jobs, said, strict=True):
        assert (url, options["method"]) == ("http://gateway/v1/job", "POST")
        assert options["headers"]["Authorization"] == "secret"
        assert json.loads(options["body"]) == wanted(job)


@pytest.mark.parametrize("language", ["curl", "python", "node"])
def test_a_read_names_the_job_and_no_secret(language: str) -> None:
    job = job_of()
    text = sample(job, "read", language).text
    assert f"/v1/job/{job.id}" in text
    assert "KEY" in text


def test_numbers_keep_their_digits() -> None:
    job = job_of(params='{"a": 1.10, "b": 12345678901234567890123, "c": 1e400}')
    for language in ("curl", "python", "node"):
        assert "12345678901234567890123" in sample(job, "create", language).text
        assert "1e400" in sample(job, "create", language).text


def test_all_fields_are_repeated() -> None:
    job = job_of(priority=7, copy_results_to='{"vocals": "https://a.example/put"}')
    body = json.loads(create_body(job))
    assert body["priority"] == 7
    assert body["copyResultsTo"] == {"vocals": "https://a.example/put"}


def test_a_body_that_no_shell_takes_is_left_out() -> None:
    job = job_of(params=json.dumps({"a": "x" * MAX_BODY}))
    assert {one.act for one in code_samples(job)} == {"read"}
