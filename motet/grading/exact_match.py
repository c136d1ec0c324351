"""Compare an answer with accepted texts: exact match and F1 of words."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from motet.errors import DataError
from motet.grading.grade import Grade, answered, no_answer
from motet.search.settings import one_of

Form = Literal["squad", "plain"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(text: str, golds: Sequence[str], *, form: Form = "squad") -> Grade:
    """Say whether `text` is one of `golds`, by their normalised forms.

    Source: the forms of Rajpurkar et al. 2016 (SQuAD), arXiv:1606.05250. Unlike there, texts of
    which punctuation and articles leave nothing are compared in the plain form: `] )` is not `}`.

    Args:
        golds: Texts of which any is right.
        form: `squad`: case, punctuation, the articles and spaces do not count; `plain`: case,
            spaces and a final stop do not count.

    Raises:
        ConfigError: `form` is unknown.
        DataError: `golds` is empty or holds an empty text.
    """
    one_of("form", form, ("squad", "plain"))
    checked_golds(golds)
    answer = plain_form(text)
    if not answer:
        return no_answer("empty" if not text.strip() else "unreadable")
    return answered(answer, is_right=any(_is_match(text, gold, form) for gold in golds))


def token_f1(text: str, golds: Sequence[str]) -> float | None:
    """Return the best F1 of words against one of `golds`, 0 to 1; None for an empty answer.

    Words are those of the SQuAD form, each as often as it stands.

    Raises:
        DataError: `golds` is empty or holds an empty text.
    """
    checked_golds(golds)
    if not plain_form(text):
        return None
    return max(_f1(text, gold) for gold in golds)


def squad_form(text: str) -> str:
    """Fold case, and drop punctuation, articles and repeated spaces."""
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def plain_form(text: str) -> str:
    """Fold case and spaces, and drop a final stop."""
    return " ".join(text.split()).removesuffix(".").rstrip().casefold()


def checked_golds(golds: Sequence[str]) -> None:
    """Refuse golds with which no answer can be compared.

    Raises:
        DataError: There is none, or one is no text or an empty one.
    """
    if isinstance(golds, str) or not golds:
        raise DataError(f"golds are {golds!r:.80}; they must be some texts in a sequence")
    for gold in golds:
        if not isinstance(gold, str) or not gold.strip():
            raise DataError(f"a gold answer is {gold!r:.80}; it must be a text that is not empty")


def _is_match(text: str, gold: str, form: Form) -> bool:
    forms = squad_form(text), squad_form(gold)
    if form == "squad" and all(forms):
        return forms[0] == forms[1]
    return plain_form(text) == plain_form(gold)


def _f1(text: str, gold: str) -> float:
    said, wanted = squad_form(text).split(), squad_form(gold).split()
    if not said or not wanted:
        return float(plain_form(text) == plain_form(gold))
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))
