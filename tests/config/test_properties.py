from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config.properties import parse_properties
from replicator.errors import ConfigurationError


def values(text: str | bytes) -> dict[str, str]:
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    return {key: found.value for key, found in parse_properties(data, "f").items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("a = b ", {"a": "b "}),
        ("a:b\nc d\ne\t=\tf", {"a": "b", "c": "d", "e": "f"}),
        ("a", {"a": ""}),
        ("a==b", {"a": "=b"}),
        ("a = : b", {"a": ": b"}),
        ("# c\n  ! c\n\n \t\nx=1\r\ny=2\rz=3", {"x": "1", "y": "2", "z": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("list=x,\\\n     y,\\\n\t z", {"list": "x,y,z"}),
        ("a=x\\\n#no comment", {"a": "x#no comment"}),
        ("a=x\\\n\nb=1", {"a": "x", "b": "1"}),
        ("a=x\\\\\nb=1", {"a": "x\\", "b": "1"}),
        ("# c\\\na=1", {"a": "1"}),
        ("k\\ e\\:y\\=s=v", {"k e:y=s": "v"}),
        ("us->eu.topics = orders\\\\..*", {"us->eu.topics": "orders\\..*"}),
        ("a=\\u00fc\\t\\n\\r\\f\\q\\=", {"a": "ü\t\n\r\fq="}),
        ("a=\\ud83d\\ude00", {"a": "😀"}),
        ("a=x\\", {"a": "x"}),
        (b"a=\xfc", {"a": "ü"}),
        (b"a=\xc3\xbc", {"a": "Ã¼"}),
        ("=v", {"": "v"}),
    ],
)
def test_given_a_line_of_javas_syntax_when_parsed_then_it_is_what_java_reads(
    text: str | bytes, expected: dict[str, str]
) -> None:
    assert values(text) == expected


def test_given_a_malformed_escape_when_parsed_then_the_line_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"f:3: malformed"):
        parse_properties(b"a=1\n\nb=\\u12g4", "f")


def test_given_continued_lines_when_parsed_then_the_line_is_where_they_begin() -> None:
    found = parse_properties(b"a=\\\n 1\nb=2", "f")
    assert [found[key].line for key in "ab"] == [1, 3]


def _escape(text: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_given_anything_escaped_when_parsed_then_it_comes_back(written: dict[str, str]) -> None:
    assert values("\n".join(f"{_escape(key)}={_escape(value)}" for key, value in written.items())) == written
