"""Pages: shared templates under those of a package, all data escaped, files written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from adjudge.core.errors import WorkError
from adjudge.render.page import page_environment, write_page


def render(body: str, **values: object) -> str:
    template = '{% extends "page.html.j2" %}{% import "parts.html.j2" as parts %}{% block body %}' + body
    return page_environment("adjudge.compare").from_string(template + "{% endblock %}").render(title="T", **values)


def test_a_page_has_the_shared_style_and_fetches_nothing() -> None:
    page = render("<p>here</p>")
    assert page.startswith("<!doctype html>")
    assert "<p>here</p>" in page
    assert "--accent" in page
    assert "default-src 'none'" in page
    assert "<script" not in page


def test_what_comes_from_data_is_escaped_in_the_shared_parts_too() -> None:
    body = "{% call parts.table(name) %}<tr><td>{{ name }}</td></tr>{% endcall %}{{ parts.stroke('solid', name) }}"
    page = render(body, name="<b>bold</b>")
    assert "<b>" not in page
    assert page.count("&lt;b&gt;") == 4


def test_numbers_are_written_the_same_way_everywhere() -> None:
    assert "0.123 12.3% 12,345" in render("{{ 0.1234|score }} {{ 0.1234|share }} {{ 12345|count }}")


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WorkError, match="cannot be written"):
        write_page(tmp_path / "taken" / "page.html", "<p>")
