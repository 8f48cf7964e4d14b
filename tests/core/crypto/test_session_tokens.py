"""Tokens of sessions and links: random, known by digest, and never one in the place of the other."""

import hashlib

import pytest

from gateway.core.crypto.session_tokens import LINK, SESSION, csrf_token, digest_of, make_token


def test_a_token_is_its_kind_and_256_bits():
    made = make_token(SESSION, bytes(range(32)))
    assert made.text == "jgs_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert made.digest == hashlib.sha256(made.text.encode()).digest()
    assert digest_of(SESSION, made.text) == made.digest


def test_a_token_of_another_kind_has_no_digest():
    session, link = make_token(SESSION, bytes(32)), make_token(LINK, bytes(32))
    assert session.digest != link.digest
    assert digest_of(LINK, session.text) is digest_of(SESSION, link.text) is None


@pytest.mark.parametrize("change", ["", " ", "\n", "a", "\u00e9"])
def test_anything_but_a_whole_token_is_none(change: str):
    text = make_token(SESSION, bytes(32)).text
    wrong = text + change if change else text[:-1]
    assert digest_of(SESSION, wrong) is None


def test_the_csrf_token_says_nothing_of_the_token():
    one, other = (make_token(SESSION, bytes([n]) * 32).text for n in (1, 2))
    assert csrf_token(one) == csrf_token(one) != csrf_token(other)
    assert len(csrf_token(one)) == 64
    assert one[4:] not in csrf_token(one)
