from hypothesis import given, settings
from hypothesis import strategies as st

from motet.serving.local.text import Detokeniser, StopScanner, mend_text


def _scan(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    scanner = StopScanner(stops)
    text = "".join(scanner.push(piece) for piece in pieces)
    return text + ("" if scanner.found else scanner.finish()), scanner.found


letters = st.text(alphabet="abc", max_size=12)
stop_texts = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3)


@settings(deadline=None)
@given(st.lists(letters, max_size=6), stop_texts)
def test_a_stop_text_cuts_alike_however_the_text_was_divided(
    pieces: list[str], stops: list[str]
) -> None:
    whole = "".join(pieces)

    assert _scan(pieces, stops) == _scan(list(whole), stops) == _scan([whole], stops)


@settings(deadline=None)
@given(st.lists(letters, max_size=6), stop_texts)
def test_no_stop_text_is_passed_on(pieces: list[str], stops: list[str]) -> None:
    text, found = _scan(pieces, stops)

    assert not any(stop in text for stop in stops)
    assert "".join(pieces).startswith(text + (found or ""))


def test_the_stop_text_that_is_complete_first_counts() -> None:
    assert _scan(["xabcd"], ["bcd", "ab"]) == ("x", "ab")
    assert _scan(["xabc"], ["bc", "abc"]) == ("x", "abc")


def test_the_beginning_of_a_stop_text_is_held_back_and_given_at_the_end() -> None:
    scanner = StopScanner(["</a>"])

    assert scanner.push("one <") == "one "
    assert scanner.push("/a") == ""
    assert scanner.push("b") == "</ab"
    assert scanner.push("</") == ""
    assert scanner.finish() == "</"


def _decode(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_pieces_are_whole_characters_and_add_up_to_the_text(prompt: str, text: str) -> None:
    prompt_ids, ids = list(prompt.encode()), list(text.encode())
    detokeniser = Detokeniser(_decode, prompt_ids)

    pieces = [detokeniser.push(token) for token in ids]
    pieces.append(detokeniser.finish())

    assert "".join(pieces) == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_character_that_the_prompt_began_is_completed() -> None:
    euro = list("€".encode())
    detokeniser = Detokeniser(_decode, [*b"ab", *euro[:2]])

    assert detokeniser.push(euro[2]) == "€"
    assert detokeniser.push(ord("c")) == "c"


def test_bytes_that_are_no_character_become_a_replacement_at_the_end() -> None:
    detokeniser = Detokeniser(_decode, list(b"ab"))

    assert detokeniser.push("€".encode()[0]) == ""
    assert detokeniser.finish() == "\N{REPLACEMENT CHARACTER}"


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_mended_text_can_be_encoded(text: str) -> None:
    mended = mend_text(text)

    mended.encode()
    assert mended == text or any("\ud800" <= c <= "\udfff" for c in text)


def test_a_lone_surrogate_becomes_a_replacement() -> None:
    assert mend_text("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"


@settings(deadline=None)
@given(st.text("abc", max_size=20), st.lists(st.integers(1, 4), max_size=12))
def test_a_kept_stop_text_ends_the_text_and_stays(text: str, sizes: list[int]) -> None:
    """Whatever the pieces, the text ends behind the first `ab`, or before the first `cc`."""
    scanner = StopScanner(("ab", "cc"), kept={"ab"})
    rest, found = text, ""
    for size in [*sizes, len(text) + 1]:
        found += scanner.push(rest[:size])
        rest = rest[size:]
    found += scanner.finish()

    kept, cut = text.find("ab"), text.find("cc")
    if kept < 0 and cut < 0:
        expected = text
    elif cut < 0 or 0 <= kept < cut:
        expected = text[: kept + 2]
    else:
        expected = text[:cut]
    assert found == expected
