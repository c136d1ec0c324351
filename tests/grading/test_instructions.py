"""Each rule of IFEval, kept and broken."""

from typing import Any

import pytest

from motet.errors import DataError
from motet.grading.instructions import check

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["Fox", "hen"]}, ["a HEN, foxes"], ["a fox"]),
    (
        "keywords:frequency",
        {"keyword": "fox", "relation": "at least", "frequency": 2},
        ["Fox and fox"],
        ["one fox"],
    ),
    (
        "keywords:frequency",
        {"keyword": "fox", "relation": "less than", "frequency": 2},
        ["one fox", "none"],
        ["fox fox"],
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, ["rocks"], ["a Rock!"]),
    ("keywords:forbidden_words", {"forbidden_words": ["a.c"]}, ["abc"], ["a.c"]),
    (
        "keywords:letter_frequency",
        {"letter": "Q", "let_relation": "at least", "let_frequency": 2},
        ["qQ"],
        ["q"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_relation": "less than", "let_frequency": 1},
        ["x"],
        ["#"],
    ),
    (
        "length_constraints:number_words",
        {"relation": "at least", "num_words": 3},
        ["one, two three"],
        ["one -- two"],
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 3},
        ["One. Two."],
        ["One. Two. Three."],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["one\n***\ntwo", "***\none\n***\ntwo"],
        ["one", "one\n\ntwo", "one\n***\n***\ntwo", "a***b***c"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"},
        ["one\n\nelm, two", 'one\n\n"Elm" two'],
        ["elm\n\none", "one\n\nelms", "one\n\nelm\n\ntwo", "one\nelm"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name] at [street 5]"],
        ["[name]", "[na\nme] [x]"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye\nP.S. one", "p. s. x"],
        ["PS one"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["P.P.S one", "P. P. S. x"],
        ["P.S. x"],
    ),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, ["n.b. x"], ["nxbx"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* one\n* two", "x\n - one\n - two\ny"],
        ["* one", "* one\n* two\n* three", "**one**\n**two**"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is maybe."],
        ["my answer is yes", "Yes."],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*one* and *two*", "**one**\n*two*"],
        ["*one*", "* one\n* two", "* * **  **"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\nx\nSECTION 2\ny"],
        ["SECTION 1", "Section 1 Section 2", "SECTION A SECTION B"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', "```\n[]\n```"],
        ["{'a': 1}", 'Here: {"a": 1}'],
    ),
    (
        "detectable_format:title",
        {},
        ["<<A title>>\ntext", "text <<x>>", "a >> b <<x>>"],
        ["<A title>", "<< >>", "<<a\nb>>"],
    ),
    (
        "combination:two_responses",
        {},
        ["one\n******\ntwo", "******one******two******"],
        ["one", "one******one", "a******b******c", "a************b"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write it. "},
        [" write it. So:"],
        ["So: write it.", "Write"],
    ),
    (
        "startend:end_checker",
        {"end_phrase": "Peace!"},
        ["Bye. peace!\n", '"Peace!"'],
        ["Peace! Bye", "Peace"],
    ),
    ("startend:quotation", {}, [' "x" ', '""'], ['"', '"x', 'x"']),
    ("change_case:english_capital", {}, ["ALL 3!"], ["All", "3"]),
    ("change_case:english_lowercase", {}, ["all 3!"], ["All", "3"]),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["I DID", "WELL-DONE NASA"],
        ["Did IT", "abc"],
    ),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("instruction", "settings", "kept", "broken"),
    CASES,
    ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)],
)
def test_rules(
    instruction: str, settings: dict[str, Any], kept: list[str], broken: list[str]
) -> None:
    """Texts that keep the instruction, and texts that break it."""
    assert {text: check(instruction, settings, text) for text in kept} == dict.fromkeys(
        kept, "followed"
    )
    assert {text: check(instruction, settings, text) for text in broken} == dict.fromkeys(
        broken, "broken"
    )


def test_a_language_is_checked_only_where_it_can_be_detected() -> None:
    """Without a detector it is neither kept nor broken."""
    settings = {"language": "de"}

    assert check("language:response_language", settings, "Guten Tag") == "not checked"
    assert check("language:response_language", settings, "x", lambda text: "de") == "followed"
    assert check("language:response_language", settings, "x", lambda text: "en") == "broken"


def test_settings_that_are_none_do_not_count() -> None:
    """Files of IFEval name every setting of every instruction, most of them as null."""
    assert check("punctuation:no_comma", {"num_words": None}, "a") == "followed"


@pytest.mark.parametrize(
    ("instruction", "settings", "message"),
    [
        ("punctuation:no_dots", {}, "'punctuation:no_dots'"),
        ("length_constraints:number_words", {"relation": "at least"}, "has no num_words"),
        ("punctuation:no_comma", {"num_words": 3}, "has num_words"),
        (
            "length_constraints:number_words",
            {"relation": "more than", "num_words": 3},
            "relation of",
        ),
        (
            "length_constraints:number_words",
            {"relation": "at least", "num_words": -1},
            "num_words of",
        ),
        ("length_constraints:number_words", {"relation": "at least", "num_words": True}, "True"),
        ("keywords:existence", {"keywords": "fox"}, "keywords of"),
        ("keywords:existence", {"keywords": [""]}, "keywords of"),
        ("language:response_language", {}, "has no language"),
    ],
)
def test_instructions_that_do_not_fit_are_refused(
    instruction: str, settings: dict[str, Any], message: str
) -> None:
    """The error names the instruction and the setting."""
    with pytest.raises(DataError, match=message):
        check(instruction, settings, "text")
