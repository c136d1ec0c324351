"""States as bytes, and a file that always holds a whole one."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import ConfigError, SearchError, StoreError
from motet.search.beam import Beam, BeamState
from motet.search.best_of_n import BestOfN
from motet.search.checkpoints import FileCheckpoint, Saved, identity, read_state, write_state
from motet.search.driver import search
from motet.search.partials import Candidate, Partial, Step
from motet.search.spending import Spend
from motet.search.tools import Problem
from motet.search.tree import Tree


@dataclass(frozen=True, slots=True)
class WideState:
    tree: Tree
    log_weights: tuple[float, ...]
    ancestors: dict[int, tuple[int, ...]]
    best: Candidate | None = None


@dataclass(frozen=True, slots=True)
class UntypedState:
    thing: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    weigh: Callable[[float], float] = abs
    beam: Beam | None = None
    names: tuple[Any, ...] = ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
any_text = st.text(st.characters(), max_size=4)  # lone surrogates among them


@given(
    st.lists(st.tuples(any_text, json_values, st.none() | st.floats(0, 1)), max_size=4),
    st.lists(st.floats(allow_nan=False), max_size=3),
    st.dictionaries(st.integers(), st.lists(st.integers()).map(tuple), max_size=2),
)
def test_a_state_is_read_back_as_it_was(steps, log_weights, ancestors):
    """Infinite weights, any text and free JSON come back bit for bit."""
    tree, best = Tree(), None
    for text, data, score in steps:
        step = Step(text, data=data, prior=score, num_tokens=3)
        tree, [node] = tree.grown([(len(tree) - 1, step, score)])
        best = Candidate(tree.partial(node), score, node)
    state = WideState(tree, (*log_weights, -math.inf), ancestors, best)
    saved = Saved(state, Spend(proposals=3, tokens=5, scores=1), 7, best)

    assert read_state(Beam(), 3, WideState, write_state(Beam(), 3, saved)) == saved


_WHOLE = write_state(
    Beam(), 3, Saved(Beam().init(3), Spend(), 2, Candidate(Partial((Step("x"),)), 0.5, 1))
)


@given(st.integers(0, len(_WHOLE) - 1), st.integers(1, 255))
def test_any_damaged_byte_is_noticed(place, change):
    """A digest tells what is whole."""
    damaged = bytearray(_WHOLE)
    damaged[place] ^= change

    with pytest.raises(SearchError, match="cannot be read; delete it"):
        read_state(Beam(), 3, BeamState, bytes(damaged))


@given(st.binary(max_size=40) | st.integers(0, len(_WHOLE) - 1).map(lambda n: _WHOLE[:n]))
def test_what_is_no_checkpoint_is_noticed(data):
    """Other bytes, an empty file, a part of one."""
    with pytest.raises(SearchError, match="cannot be read; delete it"):
        read_state(Beam(), 3, BeamState, data)


def _signed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    from motet.digest import digest_bytes

    body = json.loads(_WHOLE.partition(b"\n")[2])
    body = change(body) or body
    text = json.dumps(body).encode()
    return digest_bytes(text).encode() + b"\n" + text


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("state") and None,
        lambda body: body.update(state={"tree": []}),
        lambda body: body.update(spend=[1]),
        lambda body: body.update(best=3),
        lambda body: body.update(num_steps="many"),
        lambda body: [body],
        lambda body: "text",
    ],
)
def test_a_checkpoint_of_another_form_is_refused(change):
    """Though its digest is right."""
    with pytest.raises(SearchError, match="cannot be read; delete it"):
        read_state(Beam(), 3, BeamState, _signed(change))


@pytest.mark.parametrize(
    ("algorithm", "seed", "what"),
    [
        (Beam(n=8), 3, r"algorithm is motet.search.beam.Beam\(n=4, .*this search's is .*n=8"),
        (BestOfN(), 3, "algorithm is motet.search.beam.Beam"),
        (Beam(), 4, "seed is 3; this search's is 4"),
    ],
)
def test_the_checkpoint_of_another_search_is_refused(algorithm, seed, what):
    """The error names both."""
    with pytest.raises(SearchError, match=what):
        read_state(algorithm, seed, BeamState, _WHOLE)


def test_the_checkpoint_of_another_version_is_refused():
    """A state of another format is not guessed at."""
    with pytest.raises(SearchError, match="version is 0; this search's is 1"):
        read_state(Beam(), 3, BeamState, _signed(lambda body: body.update(version=0)))


@pytest.mark.parametrize("thing", [object(), {1, object()}, b"\xff"])
def test_a_state_that_cannot_be_written_is_a_search_error(thing):
    """It says so, instead of an error of the library beneath."""
    with pytest.raises(SearchError, match="the state cannot be written"):
        write_state(Beam(), 0, Saved(UntypedState(thing), Spend(), 0))


def _adds(n: int) -> Callable[[float], float]:
    def add(x: float) -> float:
        return x + n

    return add


class Weigher:
    def __call__(self, x: float) -> float:
        return x


@dataclass(frozen=True)
class ScaledWeigher:
    scale: float

    def __call__(self, x: float) -> float:
        return x

    def weigh(self, x: float) -> float:
        return x * self.scale


def test_settings_that_differ_have_names_that_differ():
    """Closures, lambdas, partials, methods and nested algorithms count by what they hold."""
    kinds = [
        Settings(),
        Settings(weigh=math.exp),
        Settings(weigh=_adds(1)),
        Settings(weigh=_adds(2)),
        Settings(weigh=lambda x: x),
        Settings(weigh=lambda x: -x),
        Settings(weigh=functools.partial(math.pow, 2)),
        Settings(weigh=functools.partial(math.pow, 3)),
        Settings(weigh=ScaledWeigher(1.0)),
        Settings(weigh=ScaledWeigher(2.0)),
        Settings(weigh=ScaledWeigher(1.0).weigh),
        Settings(weigh=ScaledWeigher(2.0).weigh),
        Settings(beam=Beam()),
        Settings(beam=Beam(n=8)),
        Settings(names=("a", 1)),
        Settings(names=("a", True)),
        Settings(names=(frozenset("abcdef"),)),
        Settings(names=(frozenset("abcde"),)),
    ]

    assert len(set(map(identity, kinds))) == len(kinds)
    assert identity(Settings(weigh=_adds(2))) == identity(kinds[3])
    assert identity(Settings(weigh=ScaledWeigher(2.0).weigh)) == identity(kinds[11])


def test_a_name_is_the_same_in_every_process():
    """Neither addresses nor the order of a set stand in it."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from tests.search.test_checkpoints import *; from tests.search.test_checkpoints import _adds\n"
        "print(identity(Settings(weigh=_adds(2), names=(frozenset('abcdef'), len))))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    ours = identity(Settings(weigh=_adds(2), names=(frozenset("abcdef"), len)))
    # The module has another name here and there, as a test file may be imported by its path.
    assert done.stdout.strip().rpartition("Settings(")[2].split("#")[1:] == ours.split("#")[1:]


def test_an_object_without_content_is_no_setting_of_a_checkpointed_search():
    """Two of them could not be told apart, so the search says so before it pays for anything."""
    with pytest.raises(ConfigError, match="weigh holds a Weigher"):
        identity(Settings(weigh=Weigher()))


def test_a_file_that_is_not_there_holds_nothing(tmp_path):
    """Its folder is made when it is first written."""
    checkpoint = FileCheckpoint(tmp_path / "a" / "b" / "search.ckpt")

    assert checkpoint.load() is None
    checkpoint.save(b"one")
    checkpoint.save(b"two")

    assert checkpoint.load() == b"two"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["search.ckpt"]


def test_a_file_that_cannot_be_used_is_a_store_error(tmp_path):
    """Its path is in the message."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match=f"{tmp_path} cannot be read"):
        FileCheckpoint(tmp_path).load()
    with pytest.raises(StoreError, match="cannot be written"):
        FileCheckpoint(tmp_path / "file" / "search.ckpt").save(b"x")


_DEPTH = 14


def _slow_problem(journal: Path) -> Problem:
    """A problem of 14 steps that writes down what it is asked, and whose texts are long."""

    def propose(asks):
        with journal.open("a") as file:
            for ask in asks:
                file.write(json.dumps(["propose", ask.partial.depth, hash_of(ask.partial)]) + "\n")
        return [
            [
                Step(f"{random.Random(f'{hash_of(ask.partial)}{i}').random()}" * 150)
                if ask.partial.depth < _DEPTH - 1
                else Step("end", is_last=True)
                for i in range(ask.n)
            ]
            for ask in asks
        ]

    def score(partials):
        with journal.open("a") as file:
            for each in partials:
                file.write(json.dumps(["score", each.depth - 1, hash_of(each)]) + "\n")
        return [random.Random(hash_of(each)).random() for each in partials]

    return Problem(propose=propose, score=score)


def hash_of(partial: Partial) -> str:
    from motet.digest import digest_bytes

    return digest_bytes(partial.text.encode())


def _resumable(folder: Path) -> Any:
    checkpoint = FileCheckpoint(folder / "search.ckpt")
    problem = _slow_problem(folder / "journal")
    return asyncio.run(search(Beam(n=4, width=2), problem, seed=1, checkpoint=checkpoint))


def kill_searches(folder: Path, num: int) -> None:
    """Kill a search at random points, and resume it each time."""
    (folder / "whole").mkdir()
    start_s = time.monotonic()
    whole = _resumable(folder / "whole")
    took_s = time.monotonic() - start_s
    chance, places = random.Random(0), set()
    for place in range(num):
        here = folder / str(place)
        here.mkdir()
        if (child := os.fork()) == 0:
            _resumable(here)
            os._exit(0)
        time.sleep(chance.uniform(0.0, took_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        held = FileCheckpoint(here / "search.ckpt").load()
        num_steps = 0
        if held is not None:
            num_steps = read_state(Beam(n=4, width=2), 1, BeamState, held).num_steps
        places.add(num_steps)
        journal = here / "journal"
        journal.touch()
        num_lines = len(journal.read_text().splitlines())
        resumed = _resumable(here)
        assert resumed == whole
        later = [json.loads(line) for line in journal.read_text().splitlines()[num_lines:]]
        assert all(depth >= num_steps for _, depth, _ in later), "what was kept is asked for again"
    assert len(places) > num // 5, f"all kills fell to {places}"


def test_a_search_that_is_killed_anywhere_goes_on_from_there(tmp_path):
    """After SIGKILL at 30 random points the file is whole, the resumed search ends as the one that
    was not killed, and nothing that its checkpoint knew is asked for again.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path; from tests.search.test_checkpoints import kill_searches\n"
        f"kill_searches(Path({str(tmp_path)!r}), 30)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
