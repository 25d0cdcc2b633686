"""Lists and objects in cells of text, as several programs print them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.data.structures import parse_structure


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["joy", "love"]', ["joy", "love"]),
        ("['joy', 'love']", ["joy", "love"]),
        ("['joy' 'love']", ["joy", "love"]),  # NumPy, where Python would read one word
        ("['joy'\n 'love']", ["joy", "love"]),
        ("[0 1]", [0, 1]),
        ("[0. 2.5]", [0.0, 2.5]),
        ("[1, 2,]", [1, 2]),
        ("('joy', 'love')", ["joy", "love"]),
        ("('joy',)", ["joy"]),
        ("{'joy', 'love'}", ["joy", "love"]),
        ("array(['joy', 'love'], dtype=object)", ["joy", "love"]),
        ("array([0, 1])", [0, 1]),
        ("frozenset({'joy'})", ["joy"]),
        ("set()", []),
        ("[]", []),
        ("[None, nan, null]", [None, None, None]),
        ("[True, false]", [True, False]),
        (r"""['it\'s', "so"]""", ["it's", "so"]),
        ('{"choices": ["joy"]}', {"choices": ["joy"]}),
        ("{'POS': 1, 'NEG': 0.5}", {"POS": 1, "NEG": 0.5}),
        ("{1: ('a', 'b')}", {"1": ["a", "b"]}),
        ("[['a', 'b']]", [["a", "b"]]),
    ],
)
def test_lists_and_objects_are_read_in_every_form(text, value):
    assert parse_structure(text) == value
    assert parse_structure(f" {text}\n") == value


@pytest.mark.parametrize(
    "text", ["joy", "", " ", "(none)", "()x", "(1)", "[joy]", "{joy}", "[urgent] joy", "a, b", "-1", "[a, b]"]
)
def test_words_are_no_structures(text):
    assert parse_structure(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[joy, not sad]", ["joy", "not sad"]),
        ("{joy,love}", ["joy", "love"]),
        ("[joy]", ["joy"]),
        ("[“joy”]", ["joy"]),
    ],
)
def test_bare_words_are_items_where_that_is_said(text, value):
    assert parse_structure(text, bare=True) == value


@pytest.mark.parametrize("text", ["['joy', 'lo", '["joy"', "['a'; 'b']", "{'choices': ['a' 'b']}", "{'a': }"])
def test_what_begins_as_a_list_and_does_not_end_as_one_is_an_error(text):
    with pytest.raises(ValueError, match="cannot be read as one"):
        parse_structure(text, bare=True)


@given(st.lists(st.text(max_size=8), max_size=4))
def test_what_python_and_json_print_comes_back(labels):
    assert parse_structure(json.dumps(labels)) == labels
    assert parse_structure(repr(labels)) == labels


@given(st.text(max_size=30))
def test_any_text_is_read_or_a_value_error(text):
    try:
        parse_structure(text, bare=True)
    except ValueError:
        assert text.strip()[:1] in {"[", "(", "{", "a", "f", "s", "l", "t"}
