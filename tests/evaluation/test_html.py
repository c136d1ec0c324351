"""Pages of reports: what they show, and that texts of others stay texts."""

import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser

import pytest

from motet.evaluation.figures import Figure
from motet.evaluation.html import MOST_ROWS, missing_reasons, report_html
from motet.evaluation.html_comparison import comparison_html
from motet.evaluation.report import Comparison, Difference, Line, Report, Standing
from motet.grading.rows import Row
from motet.programs.frontier.points import Interval

ROW = Row(id="r1", prompt="What is 2 + 2?", golds=("4", "four"), kind="text", task="")
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=y>&amp;\u202e\x00\ud800"
VOID = {"meta", "br", "circle", "line", "polygon", "path"}


def standing(accuracy=0.5, **more):
    given = {"tokens": 100.0, "calls": 2.0, "cost": 0.0, "wall_s": 1.0, "num_attempts": 4, **more}
    return Standing(accuracy=Interval(accuracy, accuracy / 2, (1 + accuracy) / 2), **given)


def line(name, **more):
    given = {"model": "m", "own": standing(), "matched": standing(0.4, samples=3.0),
             "gain": Interval(0.1, -0.1, 0.3), "lead": None, "values": {"r1": 1.0, "r2": 0.0},
             **more}  # fmt: skip
    return Line(name=name, **given)


def report(*lines, **more):
    given = {
        "version": 1, "motet": "0.1", "task": "sums", "digest": "d", "metric": "number",
        "match": "tokens", "num_rows": 2, "num_left_out": 0, "num_seeds": 1, "usage": {},
        "cost": 0.0, "run_id": "run", "made_at": "2026-01-01T00:00:00+00:00", **more,
    }  # fmt: skip
    return Report(lines=lines, **given)


def comparison(**more):
    each = Difference(
        name="solver", before=Interval(0.5, 0.4, 0.6), after=Interval(0.7, 0.6, 0.8),
        change=Interval(0.2, 0.1, 0.3), num_rows=9, num_better=3, num_worse=1,
        tokens=(10.0, 20.0), cost=(0.0, 0.0), worse=("row 7",),
    )  # fmt: skip
    given = {"task": "sums", "is_same_task": True, "differences": (each,), "only_before": (),
             "only_after": (), **more}  # fmt: skip
    return Comparison(**given)


class Page(HTMLParser):
    """Collects elements and texts, and holds that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def poisoned(value):
    """Put the hostile text into every text of a value, nested ones too."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(map(poisoned, value))
    if isinstance(value, dict):
        return {
            poisoned(key) if key != "r2" else key: poisoned(each) for key, each in value.items()
        }
    if is_dataclass(value):
        return replace(value, **{f.name: poisoned(getattr(value, f.name)) for f in fields(value)})
    return value


def full_report():
    parts = {"part a": (0.5, 1), "r2": (0.2, 1)}
    own = standing(parts=parts, missing={"empty": 1}, others={"f1": Interval(0.5, 0.4, 0.6)},
                   cost=0.1, metric_tokens=3.0)  # fmt: skip
    lines = (line("one", own=own), line("two", own=own, lead=Interval(0.2, 0.1, 0.3)))
    return report(
        *lines, num_left_out=2, usage={"calls": 3, "prompt_tokens": 4, "completion_tokens": 5}
    )


def figure(**more):
    given = {
        "contender": "one", "is_matched": False, "row": "r1", "part": "", "seed": 0, "text": "t",
        "answer": "the answer", "value": 1.0, "missing": None, "error": None, "tokens": 1,
        "calls": 1, "cost": 0.0, "wall_s": 1.0, **more,
    }  # fmt: skip
    return Figure(**given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: report_html(
            poisoned(full_report()), [poisoned(figure(row=HOSTILE, error="e"))], [poisoned(ROW)]
        ),
        lambda: comparison_html(
            poisoned(comparison(is_same_task=False, only_before=("a",), only_after=("b",))),
            before=HOSTILE,
            after=HOSTILE,
        ),
    ],
)  # fmt: skip
def test_a_hostile_text_in_any_field_stays_a_text(make):
    """No element, attribute, control character or lone surrogate comes of it, and it is shown."""
    text = make()

    page = Page(text)
    assert not {"script", "img"} & set(page.elements)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert('x')</script>" in page.text
    assert "\\u202e" in page.text
    assert not re.search("[\x00\u202e\ud800]", text)
    text.encode()


@pytest.mark.parametrize(
    "text",
    [
        report_html(full_report(), [figure()]),
        comparison_html(comparison(), before="a", after="b"),
    ],
)
def test_a_page_loads_nothing_and_runs_nothing(text):
    """It has no scripts, links, imports or addresses, and its policy forbids them."""
    page = Page(text)

    assert not {"script", "link", "iframe", "object", "a", "img", "form"} & set(page.elements)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not [value for name, value in page.attributes if name in ("src", "href")]
    assert "@import" not in text
    assert "url(" not in text


def test_a_report_shows_what_was_run_and_what_came_of_it():
    """Rows, seeds, metric, figures with intervals, what is missing, and how it is computed."""
    text = Page(report_html(full_report(), [figure()])).text

    for said in (
        "2 contenders on 2 rows of sums, scored by number.",
        "take as many tokens on the row", "2 rows of the file were left out",
        "3 calls, 9 tokens", "50.0 25.0 to 75.0", "+10.0 -10.0 to +30.0", "3.0 samples",
        "empty", "the answer", "Wilson", "part a", "f1", "Scoring took",
    ):  # fmt: skip
        assert said in text, said


def test_no_winner_is_named_where_an_interval_holds_0():
    """Then the page says so; only a lead that excludes 0 is told, and coloured."""
    even = report(line("one"), line("two", lead=Interval(0.2, 0.0, 0.4)))
    ahead = report(line("one"), line("two", lead=Interval(0.2, 0.1, 0.4)))
    behind = report(line("one"), line("two", lead=Interval(-0.2, -0.4, -0.1)))

    assert "no winner is named" in Page(report_html(even)).text
    assert "td class='good'>+20.0" not in report_html(even)
    assert "two is ahead of one by 20.0 (10.0 to 40.0) points." in Page(report_html(ahead)).text
    assert "td class='good'>+20.0" in report_html(ahead)
    assert "two is behind one by 20.0 (10.0 to 40.0) points." in Page(report_html(behind)).text
    assert "td class='bad'>-20.0" in report_html(behind)


def test_of_many_differences_some_are_told():
    """The sentences are cut behind ten; the table has all."""
    others = [line(f"p{i}", lead=Interval(0.2, 0.1, 0.4)) for i in range(14)]

    text = Page(report_html(report(line("one"), *others))).text

    assert "p9 is ahead of one" in text
    assert "p10 is ahead of one" not in text
    assert "And 4 more, which the table shows." in text


def test_rows_on_which_contenders_differ_come_first():
    """The page is cut behind a few hundred rows, and says where the rest is."""
    num = MOST_ROWS + 50
    one = {f"row {i:03}": 1.0 for i in range(num)}
    two = {**one, "row 345": 0.0, "row 200": 0.5}

    text = Page(report_html(report(line("one", values=one), line("two", values=two)))).text

    assert text.index("row 345") < text.index("row 200") < text.index("row 000")
    assert f"{num} rows; on 2 contenders differ" in text
    assert f"the first {MOST_ROWS} are shown; figures.jsonl" in text
    assert "row 299" not in text


def test_values_of_rows_have_their_answers():
    """Below a value stands what was read, or why nothing was, of the first seed."""
    figures = [
        figure(), figure(seed=1, answer="another"), figure(row="r2", answer=None, value=None, missing="cut off"),
        figure(row="r2", is_matched=True, answer="beside"),
    ]  # fmt: skip

    text = Page(report_html(report(line("one")), figures)).text

    assert "the answer" in text
    assert "cut off" in text
    assert "another" not in text
    assert "beside that" not in text


def test_a_row_shows_its_question_and_a_contender_its_reply_or_why_it_has_none():
    """Each is cut; without rows their ids stand alone."""
    figures = [
        figure(text="so it is 4 " + "x" * 900),
        figure(row="r2", text=None, answer=None, value=None, missing="failed", error="Broke: it"),
    ]
    page = Page(report_html(report(line("one")), figures, [ROW]))
    bare = Page(report_html(report(line("one")))).text

    assert "r1 What is 2 + 2? right: 4, four" in page.text
    assert "reply so it is 4 x" in page.text
    assert "x" * 400 not in page.text
    assert "failed error Broke: it" in page.text
    assert page.elements.count("details") == 3
    assert "What is 2 + 2?" not in bare


def test_a_gain_over_what_was_no_match_is_not_coloured():
    """A contender that spent nothing is not behind the sample that stands beside it."""
    gain = Interval(-0.5, -0.6, -0.4)
    spent = report_html(report(line("one", gain=gain)))
    none = report_html(report(line("one", own=standing(tokens=0.0), gain=gain)))

    assert "td class='bad'>-50.0" in spent
    assert "td class='bad'>-50.0" not in none
    assert "is no match" in Page(none).text


def test_texts_of_the_page_are_no_markdown_and_small_costs_no_exponents():
    """Both would stand there as they were typed."""
    own = standing(cost=5.4e-05)
    text = Page(report_html(report(line("one", own=own), cost=1.5e-07))).text

    assert "`" not in text
    assert "e-0" not in text
    assert "0.000054" in text
    assert "cost 0.00000015" in text


def test_a_report_without_self_consistency_prices_or_parts_leaves_those_out():
    """Columns and plots that would say nothing are not there."""
    plain = report_html(report(line("one", matched=None, gain=None)))

    text = Page(plain).text
    assert "self-consistency beside it" not in text
    assert "Gain over" not in text
    assert "Lead over" not in text
    assert "by part" not in text
    assert plain.count("class='plot'") == 1
    assert report_html(full_report()).count("class='plot'") == 2


def test_a_standing_without_a_time_has_none():
    """Attempts that were cut in two by a kill have no time of their own."""
    text = Page(report_html(report(line("one", own=standing(wall_s=None), matched=None)))).text

    assert "2.0 - row" not in text
    assert " 100 2.0 - " in text


def test_reasons_stand_in_one_order():
    """What counts as wrong first, then what counts as nothing."""
    missing = {"not judged": 1, "failed": 1, "empty": 2, "cut off": 0}

    assert missing_reasons([line("one", own=standing(missing=missing))]) == [
        "empty", "failed", "not judged",
    ]  # fmt: skip


def test_a_comparison_tells_changes_and_rows_that_got_worse():
    """Only a change whose interval excludes 0 is named better or worse."""
    unclear = replace(comparison().differences[0], name="other", change=Interval(0.2, 0.0, 0.3))
    both = Page(comparison_html(comparison(), before="a", after="b")).text
    none = Page(comparison_html(comparison(differences=(unclear,)), before="a", after="b")).text
    other = Page(comparison_html(comparison(is_same_task=False), before="a", after="b")).text

    assert "solver is better by 20.0 (10.0 to 30.0) points." in both
    assert "row 7" in both
    assert "not the same" not in both
    assert "No change is larger than its interval." in none
    assert "Rows or metric are not the same in both reports" in other
