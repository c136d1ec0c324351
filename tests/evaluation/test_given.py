"""Rows as calls are given them."""

from __future__ import annotations

from dataclasses import replace

from motet.digest import encode
from motet.evaluation.given import given
from motet.grading.rows import CodeTests, Row
from motet.refs import snapshot

ROW = Row(
    id="r",
    prompt="p",
    golds=(),
    kind="code",
    task="",
    tests=CodeTests(entry_point="f", inputs=tuple(([i],) for i in range(1000)), reference="f"),
)


def test_rows_that_are_equal_have_one_identity() -> None:
    """And those that differ, however deep, have others."""
    assert given(ROW).identity == given(replace(ROW)).identity
    assert given(ROW).identity != given(replace(ROW, prompt="q")).identity
    other = CodeTests(entry_point="f", inputs=(([1],),), reference="f")
    assert given(ROW).identity != given(replace(ROW, tests=other)).identity


def test_a_call_that_is_given_a_row_goes_through_none_of_its_tests() -> None:
    """It keeps the row as it is, and writes out the identity alone."""
    asked = given(ROW)
    out: list[bytes] = []

    encode(asked, out, lambda ref: ref.place)

    assert snapshot(asked, []) is asked
    assert len(b"".join(out)) < 100
