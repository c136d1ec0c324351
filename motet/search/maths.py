"""Read a short answer in LaTeX or plain notation as an exact value, written in one canonical way."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motet.search.algebra import Ratio, TooLargeError
from motet.search.expressions import FUNCTIONS, MAX_DEPTH, Reader, UnreadableError

_MAX_LENGTH = 500

_SAME = [
    (r"\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|limits)(?![A-Za-z])\s*\.?", ""),
    (r"(?<!\\)\\[()\[\]]|\\?[$%]|€|£", ""),
    (r"(?<!\\)\\!\s*", ""),
    (r"(?<=\d)(?:\\,|\{,\})(?=\s*\d{3}(?!\d))\s*", ""),
    (r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])|~|\u00a0", " "),
    (r"\{,\}", ","),
    (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])|°", " "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\dbinom(?![A-Za-z])|\\tbinom(?![A-Za-z])", r"\\binom"),
    (r"\\(?:mbox|mathrm|textrm|textbf|mathbf|textit|mathit|operatorname)(?![A-Za-z])", r"\\text"),
    ("[−–]", "-"),
    ("π", r"\\pi "),
    ("√", r"\\sqrt "),
    ("∞", r"\\infty "),
    ("≤", r"\\le "),
    ("≥", r"\\ge "),
    ("×|·", "*"),
    ("∪", r"\\cup "),
    ("±", r"\\pm "),
    (r"\\(?:leq|leqslant)(?![A-Za-z])|<=", r"\\le "),
    (r"\\(?:geq|geqslant)(?![A-Za-z])|>=", r"\\ge "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\*\*", "^"),
]
_THOUSANDS = re.compile(r"(?<![\d.,_^])\d{1,3}(?:,\d{3})+(?![\d,])")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}(?:\s*\^\s*(?:\d|\{\d\}))?")
_NO_UNIT = (
    r"(?:theta|alpha|beta|gamma|delta|infty|infinity|sqrt|factorial|squared|cubed|"
    r"dozen|hundred|thousand|million|billion|trillion)"
)
_UNIT = re.compile(
    r"(?<=[\d)}])\s*(?:(?:square|cubic)\s+)?(?:(?!" + _NO_UNIT + r")[a-z]{4,}|mm|cm|km|in|ft|yd|kg|"
    r"mg|lb|lbs|oz|ml|sec|min|hr|hrs|mph|sq)\s*(?:\^\s*(?:[23]|\{[23]\}))?\.?\s*$"
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<command>\\(?:begin|end)\{[A-Za-z]+\}|\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)|(?P<sign>[-+*/^_=<>(){}\[\]|,;!&'.:]))"
)
_WORDS = frozenset(
    [
        "yes",
        "no",
        "true",
        "false",
        "odd",
        "even",
        "none",
        "or",
        "and",
        "red",
        "blue",
        "all",
        "any",
        "not",
    ]
)
_OPENERS = {"(": ")", "[": "]", r"\{": r"\}"}
_CLOSERS = {")", "]", r"\}"}
_RELATIONS = {"=", "<", ">", r"\le", r"\ge", r"\ne", r"\neq"}
_FLIPPED = {">": "<", r"\ge": r"\le"}
_WRITTEN = {r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\neq": "!="}


def canonical_maths(answer: str) -> str | None:
    """Return the one way to write the value of `answer`; None where it is not understood.

    The work is bounded by the answer's size, not by a clock, so that the same answer always has
    the same form. Nothing is evaluated as code.
    """
    if len(answer) > _MAX_LENGTH:
        return None
    text = _plain(answer)
    if len(text) > _MAX_LENGTH:
        return None
    words = _words(text)
    if words is not None:
        return words
    try:
        return _answer(_tokens(_TEXT.sub(_unit_or_list, text)))
    except (UnreadableError, TooLargeError, ZeroDivisionError):
        return None


def _plain(answer: str) -> str:
    text = answer
    for pattern, by in _SAME:
        text = re.sub(pattern, by, text)
    text = text.strip().rstrip(".").strip()

    def joined(found: re.Match[str]) -> str:
        before = text[: found.start()]
        is_inside = sum(map(before.count, "([")) > sum(map(before.count, ")]"))
        is_inside = is_inside or before.count(r"\{") > before.count(r"\}")
        return found[0] if is_inside else found[0].replace(",", "")

    text = _THOUSANDS.sub(joined, text)
    is_function = re.search(r"(?:pi|sqrt|infty|inf)\s*$", text)
    return text if is_function else _UNIT.sub("", text)


def _words(text: str) -> str | None:
    """Return the words of an answer that is made of them, folded; None of any other."""
    whole = _TEXT.fullmatch(text)
    said = whole[1] if whole else text
    single = re.fullmatch(r"\s*\(?([A-Za-z])\)?\.?\s*", said)
    if single:
        return single[1]
    folded = " ".join(said.split()).strip(".").casefold()
    if not re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", folded):
        return None
    is_word = len(folded) > 3 or folded in _WORDS or (len(folded) == 3 and said.strip().isupper())
    is_name = folded in {"sqrt", "infty"} or folded in FUNCTIONS
    return folded if whole or (is_word and not is_name) else None


def _unit_or_list(found: re.Match[str]) -> str:
    """Return a comma for "and" and "or", and nothing for a unit or a name behind which nothing but
    the end of a part stands."""
    said = found[1].strip().casefold()
    if said in {"and", "or"}:
        return " , "
    behind = found.string[found.end() :].lstrip()
    is_end = not behind or behind[0] in ",;=)]}" or behind.startswith(r"\text")
    if not is_end or re.search(_NO_UNIT, said):
        raise UnreadableError
    return " "


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise UnreadableError
        at = found.end()
        word = found["word"]
        if word is None:
            tokens.append(found[0].strip())
        else:
            tokens += _letters(word)
    return tokens


def _letters(word: str) -> list[str]:
    """Return a run of letters as a command, a separator, or one variable a letter."""
    if word in FUNCTIONS or word in {"sqrt", "pi", "infty"}:
        return ["\\" + word]
    if word == "inf":
        return [r"\infty"]
    if word in {"and", "or"}:
        return [","]
    if len(word) > 3 or word.casefold() in _WORDS:
        raise UnreadableError
    return list(word)


def _split(tokens: Sequence[str], at: set[str]) -> tuple[list[list[str]], list[str]]:
    """Split at tokens outside of all brackets; return the parts and what stood between."""
    parts: list[list[str]] = [[]]
    between: list[str] = []
    depth = 0
    for mark in tokens:
        depth += (mark in _OPENERS or mark == "{") - (mark in _CLOSERS or mark == "}")
        if not 0 <= depth <= MAX_DEPTH:
            raise UnreadableError
        if depth == 0 and mark in at:
            parts.append([])
            between.append(mark)
        else:
            parts[-1].append(mark)
    if depth:
        raise UnreadableError
    return parts, between


def _answer(tokens: list[str]) -> str:
    """Return a single answer, or the set of those in a list or between braces."""
    if tokens in ([r"\emptyset"], [r"\varnothing"], [r"\{", r"\}"]):
        return "{}"
    parts = [part for part in _split(tokens, {",", ";"})[0] if part]
    if len(parts) == 1 and _is_set(parts[0]):
        parts = [part for part in _split(parts[0][1:-1], {",", ";"})[0] if part]
    elif len(parts) == 1:
        values = _values(parts[0])
        return values[0] if len(values) == 1 else _set(values)
    if not parts:
        raise UnreadableError
    names = ["".join(_name(part)) for part in parts]
    is_one = len(set(names)) == 1
    return _set(
        [
            value if is_one or not name else f"{name}={value}"
            for name, part in zip(names, parts, strict=True)
            for value in _values(part)
        ]
    )


def _set(values: Sequence[str]) -> str:
    return "{" + ",".join(sorted(set(values))) + "}"


def _is_set(tokens: Sequence[str]) -> bool:
    if tokens[0] not in {r"\{", "{"} or _closes_at(tokens) != len(tokens) - 1:
        return False
    return tokens[0] != "{" or len(_split(tokens[1:-1], {","})[0]) > 1


def _closes_at(tokens: Sequence[str]) -> int:
    """Return where the bracket that opens `tokens` closes."""
    depth = 0
    for at, mark in enumerate(tokens):
        depth += (mark in _OPENERS or mark == "{") - (mark in _CLOSERS or mark == "}")
        if depth == 0:
            return at
    raise UnreadableError


def _values(tokens: list[str]) -> list[str]:
    """Return what one answer of a list stands for: two values where it has a plus-minus."""
    if r"\pm" not in tokens and r"\mp" not in tokens:
        return [_statement(tokens)]
    plus = ["+" if t == r"\pm" else "-" if t == r"\mp" else t for t in tokens]
    minus = ["-" if t == r"\pm" else "+" if t == r"\mp" else t for t in tokens]
    return list(dict.fromkeys([_statement(plus), _statement(minus)]))


def _statement(tokens: list[str]) -> str:
    sides, between = _split(tokens, _RELATIONS | {r"\in"})
    if _name(tokens):
        return _collection(sides[1])
    if not between:
        return _collection(tokens)
    if between == ["="]:
        return _equation(Reader(sides[0]).value() - Reader(sides[1]).value())
    if r"\in" in between:
        raise UnreadableError
    written = [str(Reader(side).value()) for side in sides]
    if all(each in _FLIPPED for each in between):
        written.reverse()
        between = [_FLIPPED[each] for each in reversed(between)]
    pairs = zip(["", *between], written, strict=True)
    return "".join(f"{_WRITTEN.get(relation, relation)}{side}" for relation, side in pairs)


def _name(tokens: list[str]) -> list[str]:
    """Return what is asked for where an answer begins with it: x, x_1 or f(x), and `=` or `in`."""
    sides, between = _split(tokens, _RELATIONS | {r"\in"})
    if between not in (["="], [r"\in"]):
        return []
    if between == ["="] and not sides[0]:
        return ["="]
    is_name = re.fullmatch(r"[A-Za-z](_.)?(\([A-Za-z]\))?", "".join(sides[0]))
    return sides[0] if is_name else []


def _equation(difference: Ratio) -> str:
    above = Ratio(difference.above, Ratio.of(1).below)
    if not above.above:
        return "0=0"
    return f"{above / Ratio.of(above.above[max(above.above)])}=0"


def _collection(tokens: list[str]) -> str:
    """Return a union, an interval, a tuple, a matrix or a single expression."""
    parts, between = _split(tokens, {r"\cup"})
    if between:
        return "|".join(sorted(_collection(part) for part in parts))
    if not tokens:
        raise UnreadableError
    if tokens[0].startswith(r"\begin"):
        return _matrix(tokens)
    if _is_set(tokens):
        return _answer(tokens)
    if tokens[0] in _OPENERS and _closes_at(tokens) == len(tokens) - 1:
        inner, commas = _split(tokens[1:-1], {",", ";"})
        if commas:
            written = ",".join(_collection(each) for each in inner)
            return f"{tokens[0]}{written}{tokens[-1]}"
    return str(Reader(tokens).value())


def _matrix(tokens: list[str]) -> str:
    kind = re.fullmatch(r"\\begin\{([bpBvV]?)matrix\}", tokens[0])
    if kind is None or tokens[-1] != tokens[0].replace("begin", "end"):
        raise UnreadableError
    rows = [row for row in _split(tokens[1:-1], {r"\\"})[0] if row]
    cells = [[str(Reader(cell).value()) for cell in _split(row, {"&"})[0]] for row in rows]
    bars = kind[1] if kind[1] in {"v", "V"} else ""
    return f"{bars}matrix(" + ";".join(",".join(row) for row in cells) + ")"
