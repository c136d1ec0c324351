"""Readers of public data sets: rows with a prompt, gold answers and stored answers."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from motet.errors import DataError
from motet.grading.datasets_code import CODE_READERS, read_code_rows
from motet.grading.instruction_following import Instruction
from motet.grading.rows import Kind, Row, StoredAnswer
from motet.search.settings import one_of

_MARK = re.compile(r"\s*\([A-Z]\)\s*")
_ZEROEVAL_MOST = 60
"""Characters of an extracted answer that the file keeps."""
_MATHS_BENCHMARKS = ("MATH", "GSM8k")


def read_rows(folder: Path | str, name: str) -> list[Row]:
    """Read the data set `name` below `folder`, in the order of its file.

    Args:
        folder: Holds one folder for each data set, with gzip JSON lines in it.
        name: gsm8k, math, mixeval, agieval, bbh, ifeval, qwen_bon8, zeroeval_gsm8k,
            zeroeval_math_l5 or zeroeval_crux; of code humaneval, humaneval_plus_mini,
            humaneval_plus, mbpp or codet_samples.

    Raises:
        ConfigError: There is no reader of this name.
        DataError: The file cannot be read, or a line is not what the reader expects; names both.
    """
    one_of("name", name, sorted([*_READERS, *CODE_READERS]))
    if name in CODE_READERS:
        return read_code_rows(Path(folder), name)
    file, row_of = _READERS[name]
    path = Path(folder) / name / file
    rows: list[Row] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for at, line in enumerate(lines, 1):
                try:
                    rows.append(row_of(json.loads(line)))
                except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
                    raise DataError(f"line {at} of {path} is no row of {name}: {exc!r}") from exc
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def bbh_average(shares: Mapping[str, float]) -> float:
    """Return the mean over the 23 tasks of BIG-Bench Hard.

    Source: Suzgun et al. 2022, arXiv:2210.09261, table 2: the three tasks of logical deduction
    count as one, and so do the three of tracking shuffled objects.

    Args:
        shares: By task, 27 in all, in any unit.

    Raises:
        DataError: There are no 27 tasks that make 23.
    """
    groups: dict[str, list[float]] = {}
    for task, share in shares.items():
        joined = re.sub(r"^(logical_deduction|tracking_shuffled_objects)_.*", r"\1", task)
        groups.setdefault(joined, []).append(share)
    if len(shares) != 27 or len(groups) != 23:
        raise DataError(f"{len(shares)} tasks make {len(groups)}; 27 that make 23 are needed")
    return sum(sum(group) / len(group) for group in groups.values()) / len(groups)


def _gsm8k(record: Any) -> Row:
    stored = {
        model: StoredAnswer(text=solution["text"], is_right=bool(solution["correct"]))
        for model, solution in record["solutions"].items()
    }
    return make_row(
        record["id"], record["question"], [record["gold"]], "number", "", answers=stored
    )


def _math(record: Any) -> Row:
    return make_row(record["id"], record["problem"], [record["answer"]], "maths", record["set"])


def _qwen_bon8(record: Any) -> Row:
    pairs = zip(record["responses"], record["correct"], strict=True)
    stored = {
        f"sample {at}": StoredAnswer(text=text, is_right=bool(correct))
        for at, (text, correct) in enumerate(pairs)
    }
    task = record["level"]
    return make_row(
        record["id"], record["problem"], [record["gold"]], "maths", task, answers=stored
    )


def _mixeval(record: Any) -> Row:
    stored = StoredAnswer(text=record["gemma_1_1_7b_response"], is_right=None)
    prompt = "\n\n".join(part for part in (record["context"], record["prompt"]) if part)
    golds = record["target"]
    kind: Kind = "maths" if record["benchmark"] in _MATHS_BENCHMARKS else "text"
    options = record["options"] or ()
    if record["type"] == "multiple-choice":
        [index] = golds
        kind, golds = "choice", [ascii_uppercase[: len(options)][index]]
    answers = {"gemma_1_1_7b": stored}
    return make_row(record["id"], prompt, golds, kind, record["set"], options, answers=answers)


def _agieval(record: Any) -> Row:
    prompt = "\n\n".join(part for part in (record["passage"], record["question"]) if part)
    options = [_MARK.sub("", option, count=1) for option in record["options"]]
    return make_row(record["id"], prompt, [record["gold"]], "choice", record["task"], options)


def _bbh(record: Any) -> Row:
    stored = {
        way: StoredAnswer(text=record[f"{way}_pred"], is_right=bool(record[f"{way}_ok"]))
        for way in ("direct", "cot")
    }
    golds = [record["target"]]
    return make_row(record["id"], record["input"], golds, "plain", record["task"], answers=stored)


def _ifeval(record: Any) -> Row:
    pairs = zip(record["instruction_id_list"], record["kwargs"], strict=True)
    return Row(
        id=str(record["key"]),
        prompt=_text(record["prompt"]),
        golds=(),
        kind="instructions",
        task="",
        instructions=tuple(Instruction(id=_text(i), settings=dict(k)) for i, k in pairs),
    )


def _zeroeval(kind: Kind) -> Callable[[Any], Row]:
    def row_of(record: Any) -> Row:
        stored = {
            model: StoredAnswer(
                text=answer,
                is_right=bool(correct),
                is_cut_off=answer is not None and len(answer) >= _ZEROEVAL_MOST,
            )
            for model, (correct, _characters, answer) in record["m"].items()
        }
        gold = record["gold"].removeprefix("# ") if kind == "number" else record["gold"]
        return make_row(record["id"], record["question"], [gold], kind, "", answers=stored)

    return row_of


def make_row(
    row_id: Any,
    prompt: Any,
    golds: Sequence[Any],
    kind: Kind,
    task: Any,
    options: Sequence[Any] = (),
    *,
    answers: Mapping[str, StoredAnswer] | None = None,
) -> Row:
    """Return a row of values as files hold them; marks of the options stand behind the prompt.

    Raises:
        TypeError, ValueError: A value is no text, or the right answers do not fit.
    """
    marked = "".join(
        f"\n({letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False)
    )
    if not golds or not all(isinstance(gold, str) and gold.strip() for gold in golds):
        raise ValueError(f"gold answers are {golds!r:.80}")
    if kind == "choice" and golds[0] not in list(ascii_uppercase[: len(options)]):
        raise ValueError(f"gold answer {golds[0]!r:.80} is none of {len(options)} options")
    return Row(
        id=_text(row_id),
        prompt=_text(prompt) + marked,
        golds=tuple(golds),
        kind=kind,
        task=_text(task),
        options=tuple(map(_text, options)),
        answers=answers or {},
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no text")
    return value


_READERS: dict[str, tuple[str, Callable[[Any], Row]]] = {
    "gsm8k": ("test.jsonl.gz", _gsm8k),
    "math": ("problems.jsonl.gz", _math),
    "qwen_bon8": ("samples.jsonl.gz", _qwen_bon8),
    "mixeval": ("items.jsonl.gz", _mixeval),
    "agieval": ("questions.jsonl.gz", _agieval),
    "bbh": ("bbh.jsonl.gz", _bbh),
    "ifeval": ("prompts.jsonl.gz", _ifeval),
    "zeroeval_gsm8k": ("outcomes.jsonl.gz", _zeroeval("number")),
    "zeroeval_math_l5": ("outcomes.jsonl.gz", _zeroeval("maths")),
    "zeroeval_crux": ("outcomes.jsonl.gz", _zeroeval("literal")),
}
