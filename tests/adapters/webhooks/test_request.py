"""The bytes of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.webhooks.request import RequestTarget, request_of
from gateway.core.webhooks.ssrf_rules import CheckedUrl, check_url
from gateway.ports import Webhook


def place(url: str) -> RequestTarget:
    target = check_url(url, ports=(), schemes=("https", "http"))
    assert isinstance(target, CheckedUrl)
    return RequestTarget.of(target)


def test_a_whole_request() -> None:
    headers = (("content-type", "application/json"), ("webhook-id", "1"))
    webhook = Webhook("https://a.example/hook?x=1", headers, b'{"a":1}')
    assert request_of(place(webhook.url), webhook) == (
        b"POST /hook?x=1 HTTP/1.1\r\n"
        b"Host: a.example\r\n"
        b"content-type: application/json\r\n"
        b"webhook-id: 1\r\n"
        b"Accept: */*\r\n"
        b"accept-encoding: identity\r\n"
        b"Content-Length: 7\r\n"
        b"\r\n"
        b'{"a":1}'
    )


def test_what_is_accepted_is_said_once() -> None:
    webhook = Webhook("https://a.example/", (("accept", "text/x"),), b"")
    request = request_of(place(webhook.url), webhook)
    assert isinstance(request, bytes)
    assert b"accept: text/x\r\n" in request
    assert b"*/*" not in request


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.example.", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("http://a.example:80/", "a.example"),
        ("https://a.example:80/", "a.example:80"),
        ("https://[2606:4700::1111]:8443/", "[2606:4700::1111]:8443"),
        ("https://1.1.1.1/", "1.1.1.1"),
    ],
)
def test_the_host_is_named_with_the_port_where_it_is_not_the_usual_one(url: str, host: str) -> None:
    assert place(url).start.split("\r\n")[1] == f"Host: {host}"


@pytest.mark.parametrize(
    ("given_path", "sent"),
    [
        ("", "/"),
        ("/", "/"),
        ("/?", "/"),
        ("?a=b", "/?a=b"),
        ("/a/../b/./c?x=/../y", "/b/c?x=/../y"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/../../x/", "/x/"),
        ("/a/b/../", "/a/"),
        ("/a//b/..;/c", "/a//b/..;/c"),
        ("/a%2Fb%3f/%7E", "/a%2Fb%3f/%7E"),
        ("/%zz%?%", "/%25zz%25?%25"),
        ("/a[1]?b[]=1", "/a%5B1%5D?b%5B%5D=1"),
        ("/\u00fc?\u00fc", "/%C3%BC?%C3%BC"),
        ("/a'b(c)*!$&,;=:@~", "/a'b(c)*!$&,;=:@~"),
        ("/?a=b?c/d&e;f", "/?a=b?c/d&e;f"),
    ],
)
def test_the_path_and_query_are_sent_as_they_were_given_in_one_spelling(
    given_path: str, sent: str
) -> None:
    start = place(f"https://a.example{given_path}").start
    assert start.split("\r\n")[0] == f"POST {sent} HTTP/1.1"


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_url_and_no_header_makes_a_second_line(path: str, name: str, value: str) -> None:
    target = check_url(f"https://a.example/{path}", ports=(), schemes=("https",))
    webhook = Webhook("", ((name, value),), b"body")
    if isinstance(target, CheckedUrl):
        request = request_of(RequestTarget.of(target), webhook)
        if isinstance(request, bytes):
            head, _, body = request.partition(b"\r\n\r\n")
            assert body == b"body"
            assert len(head.splitlines()) == 6
            assert head.count(b"\r\n") == 5
            assert len(head.split(b"\r\n")[0].split(b" ")) == 3
