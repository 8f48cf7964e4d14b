"""Addresses for the portal: plain https, or http to this machine, and nothing that runs."""

import pytest

from gateway.core.portal.addresses import why_no_logo_url, why_no_return_url

GOOD = [
    "https://app.example.com",
    "https://app.example.com:8443/a/b?c=d&e=%20#f",
    "https://[2001:db8::1]/",
    "https://xn--bcher-kva.example/",
]
LOOPBACK = ["http://localhost:3000/", "http://127.0.0.1/x", "http://127.9.9.9", "http://[::1]:80/"]
HOSTILE = [
    "",
    "app.example.com",
    "//app.example.com",
    "/back",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "ftp://app.example.com/",
    "blob:https://app.example.com/1",
    "http://app.example.com/",
    "http://localhost.example.com/",
    "http://127.0.0.1.example.com/",
    "http://localhost@app.example.com/",
    "https://user:password@app.example.com/",
    "https://app.example.com\\@evil.example/",
    "https:\\\\evil.example",
    'https://app.example.com/"onload="x',
    "https://app.example.com/<b>",
    "https://app.example.com/\r\nset-cookie: a=b",
    "https://app.example.com/\u202eevil",
    "https://b\u00fccher.example/",
    "https://",
    "https:///path",
    "https://app.example.com:99999/",
    "https://app.example.com:0/",
    "https://[::1",
]


@pytest.mark.parametrize("url", GOOD)
def test_https_passes(url: str):
    assert why_no_return_url(url) is None
    assert why_no_logo_url(url) is None


@pytest.mark.parametrize("url", LOOPBACK)
def test_http_passes_for_loopback_and_never_for_a_logo(url: str):
    assert why_no_return_url(url) is None
    assert why_no_logo_url(url) == "must begin with https://"


@pytest.mark.parametrize("url", HOSTILE)
def test_everything_else_is_refused(url: str):
    assert why_no_return_url(url)
    assert why_no_logo_url(url)


def test_a_long_address_is_refused_without_being_shown():
    told = why_no_return_url("https://app.example.com/" + "a" * 2048)
    assert told == "has 2072 characters; at most 2048 are allowed"
