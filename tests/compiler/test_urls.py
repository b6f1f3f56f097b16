"""The one reading of URLs: what it gives, and where redirects lead. What it refuses is in the tests of the guard."""

from __future__ import annotations

import pytest

from compiler.urls import UrlError, check_beginning, join_url, parse_url

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com/A"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com#top", "http://example.com/"),
        ("http://example.com/a?b#c", "http://example.com/a?b"),
        ("http://example.com/a b/ü?q=ü b", "http://example.com/a%20b/%C3%BC?q=%C3%BC%20b"),
        ("http://example.com/%41%2f?x=%zz", "http://example.com/%41%2f?x=%zz"),
        ("http://example.com/a\\b", "http://example.com/a%5Cb"),
        ("http://example.com/@user:x@y", "http://example.com/@user:x@y"),
        ("http://example.com/?to=http://a@b/", "http://example.com/?to=http://a@b/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://my_service:8080/", "http://my_service:8080/"),
        ("http://localhost/", "http://localhost/"),
        ("http://8.8.8.8:53/", "http://8.8.8.8:53/"),
        ("http://[2001:DB8:0:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://1.2.3.4.example/", "http://1.2.3.4.example/"),
        ("http://example.com:0443/", "http://example.com:443/"),
        ("http://0x7f.example/", "http://0x7f.example/"),
    ],
)
def test_reading(text: str, read: str) -> None:
    assert str(parse_url(text)) == read
    assert parse_url(read) == parse_url(text)


@pytest.mark.parametrize(
    ("reference", "leads_to"),
    [
        ("/x", "http://example.com:81/x"),
        ("x", "http://example.com:81/a/x"),
        ("./x?y", "http://example.com:81/a/x?y"),
        ("../x", "http://example.com:81/x"),
        ("../../../x", "http://example.com:81/x"),
        ("?new", "http://example.com:81/a/b?new"),
        ("", "http://example.com:81/a/b?q"),
        ("#top", "http://example.com:81/a/b?q"),
        ("/x#top", "http://example.com:81/x"),
        ("//other.example/x", "http://other.example/x"),
        ("https://other.example", "https://other.example/"),
        ("/\\other.example/", "http://example.com:81/%5Cother.example/"),
        ("..//other.example/", "http://example.com:81/other.example/"),
        ("/.//other.example/", "http://example.com:81/.//other.example/"),
        ("/a@other.example/", "http://example.com:81/a@other.example/"),
        ("x/y:z", "http://example.com:81/a/x/y:z"),
        ("/ü", "http://example.com:81/%C3%BC"),
    ],
)
def test_redirects(reference: str, leads_to: str) -> None:
    assert str(join_url(parse_url("http://example.com:81/a/b?q"), reference)) == leads_to


@pytest.mark.parametrize("reference", ["ftp://x/", "//user@x/", "x:y", "/a\tb", "mailto:a@b", "//", "http:x"])
def test_redirects_to_nowhere(reference: str) -> None:
    with pytest.raises(UrlError):
        join_url(parse_url("http://example.com/"), reference)


@pytest.mark.parametrize("text", ["", "h", "HTTP", "https:", "https:/", "https://", "https://a", "https://a.b/c?"])
def test_beginnings_that_may_become_a_url(text: str) -> None:
    check_beginning(text)


@pytest.mark.parametrize(
    "text", ["f", "ftp://", "httpx", "http:x", "/a", "example.com/", " http://", "http://a@", "http://127.1/x"]
)
def test_beginnings_that_cannot(text: str) -> None:
    with pytest.raises(UrlError):
        check_beginning(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("http://user:password@example.com/", "user name"),
        ("http://127.1/", "four decimal numbers"),
        ("http://[::1%25lo]/", "without a zone"),
        ("ftp://example.com/", "begin with http"),
        ("http://example.com:99999/", "port from 1 to 65535"),
        ("http://example.com./", "letters, digits"),
        ("http:///x", "must have a host"),
        (" http://x/", "no spaces around"),
        ("http://x/\n", "no spaces around"),
        ("http://x/a\nb", "no control characters"),
        ("http://例え。jp/", "plain dots"),
        ("http://１２７.0.0.1/", "IDNA 2008"),
    ],
)
def test_what_is_wrong_is_said(text: str, rule: str) -> None:
    with pytest.raises(UrlError, match=rule):
        parse_url(text)
