"""Sentences by a rule."""

import pytest

from motet.grading.sentences import count_sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("One.", 1),
        ("One. Two! Three?", 3),
        ("One... Two?! Three", 3),
        ('He said "Go." Then he went.', 2),
        ("Dr. Smith met Mr. J. Doe at 3.5 p.m. today.", 1),
        ("So am I. So is he.", 2),
        ("1. First item.\n2. Second item.", 2),
        ("A title\n\nA sentence.", 1),
        ("**Bold.** And _more._", 2),
        ("---\n***\n", 0),
        ("It was 1999. It was warm.", 2),
        ("वह घर गया। वह सोया।", 2),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    """By their ends, without abbreviations, initials and list numbers, and with an unended rest."""
    assert count_sentences(text) == count
