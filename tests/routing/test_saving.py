"""Trained routers on disk."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motet.errors import DataError
from motet.routing.elo import EloRouter
from motet.routing.knn import KnnRouter
from motet.routing.logistic import LinearRouter, TrainedLinear
from motet.routing.matrix_factorisation import MatrixFactorisationRouter
from motet.routing.mlp import MlpRouter
from motet.routing.outcomes import Outcomes
from motet.routing.router import TrainedRouter
from motet.routing.saving import KINDS, load, save
from motet.routing.smoothie import Smoothie

ROUTERS: list[Any] = [
    EloRouter(),
    KnnRouter(by_similarity=True),
    LinearRouter(),
    LinearRouter(link="identity"),
    MatrixFactorisationRouter(num_epochs=1),
    MlpRouter(hidden=(3, 4), max_epochs=2),
    Smoothie(),
    Smoothie(neighbours=2),
]


def trained(router: Any) -> TrainedRouter:
    rng = np.random.default_rng(0)
    if isinstance(router, Smoothie):
        answers, prompts = rng.standard_normal((3, 30, 4)), rng.standard_normal((30, 6))
        return router.fit(("é", "b", "c"), answers, prompts)
    scores = rng.random((30, 3)).round(1)
    scores[:5, 0] = np.nan
    scores[5:, 0] = 1.0
    outcomes = Outcomes(
        prompts=tuple(f"a prompt with the number {i}" for i in range(30)),
        models=("é", "b", "c"),
        scores=scores,
        costs=np.ones((30, 3)),
    )
    fitted: TrainedRouter = router.fit(outcomes, rng.standard_normal((30, 6)))
    return fitted


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], **arrays: Any) -> None:
    """Write the file again with another header, and arrays changed or added."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    header = json.loads(held["header"].tobytes())
    change(header)
    held |= arrays
    held["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, **held)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "router.npz"
    save(trained(LinearRouter()), path, embedder="small")
    return path


@pytest.mark.parametrize("router", ROUTERS)
def test_what_is_read_is_what_was_written(router: Any, tmp_path: Path) -> None:
    """Every field of every kind of router, and so every estimate."""
    written = trained(router)
    queries = np.random.default_rng(1).standard_normal((9, 6))

    save(written, tmp_path / "router", embedder="small")
    read = load(tmp_path / "router", embedder="small")

    assert type(read) is type(written)
    for field in dataclasses.fields(written):  # type: ignore[arg-type]
        assert same(getattr(written, field.name), getattr(read, field.name)), field.name
    assert np.array_equal(written.estimate(queries), read.estimate(queries))


def test_every_kind_is_tested() -> None:
    """A kind that is added stands among the routers above."""
    assert {type(trained(router)) for router in ROUTERS} == set(KINDS.values())


@given(
    weights=hnp.arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 5)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    ),
    names=st.lists(st.text(), min_size=2, max_size=2, unique=True),
    intercepts=hnp.arrays(np.float64, 2, elements=st.floats()),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_numbers_and_names_survive(
    tmp_path: Path, weights: Any, names: list[str], intercepts: Any
) -> None:
    """Bits of numbers, infinite ones and NaN too, and names of any characters."""
    written = TrainedLinear(
        models=tuple(names), link="logistic", weights=weights, intercepts=intercepts
    )

    save(written, tmp_path / "router.npz", embedder="small")
    read: Any = load(tmp_path / "router.npz", embedder="small")

    assert read.models == written.models
    assert read.weights.tobytes() == weights.tobytes()
    assert read.intercepts.tobytes() == intercepts.tobytes()


def test_the_header_says_what_the_file_is(saved: Path) -> None:
    """Format, kind, version of the library, embedder and dimensions stand in it as JSON."""
    with np.load(saved, allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())

    assert (header["format"], header["kind"], header["embedder"]) == (1, "linear", "small")
    assert header["dimensions"] == 6
    assert header["fields"]["models"] == ["é", "b", "c"]
    assert header["library"]


def test_two_files_of_one_router_are_equal(saved: Path, tmp_path: Path) -> None:
    """Nothing in a file depends on when it was written."""
    save(load(saved, embedder="small"), tmp_path / "again.npz", embedder="small")

    assert (tmp_path / "again.npz").read_bytes() == saved.read_bytes()


def test_the_embeddings_of_another_model_are_refused(saved: Path) -> None:
    """A router must be asked with the embedder that it was trained on; both are named."""
    with pytest.raises(DataError, match=r"router\.npz.*'small', not 'large'"):
        load(saved, embedder="large")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(format=2), "format is 2"),
        (lambda header: header.pop("format"), "format is None"),
        (lambda header: header.update(kind="os.system"), "kind is 'os.system'"),
        (lambda header: header.update(kind=["knn"]), "kind is"),
        (lambda header: header.update(kind="knn"), "a knn has"),
        (lambda header: header.update(dimensions=7), "says 7 dimensions"),
        (lambda header: header["fields"].update(link="cubic"), "link is 'cubic'"),
        (lambda header: header["fields"].update(models=["a"]), "weights is"),
        (lambda header: header["fields"].update(models=["a", "a", "b"]), "different names"),
        (lambda header: header["fields"].update(other=1), "it has the fields"),
        (lambda header: header["arrays"].update(weights=10**12), "weights.0"),
        (lambda header: header["arrays"].update(weights="x"), "TypeError"),
        (lambda header: header.update(fields=3), "AttributeError"),
        (lambda header: header.pop("arrays"), "KeyError"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(saved: Path, change: Any, message: str) -> None:
    """Another format, unknown kinds and fields, and settings that do not fit the arrays."""
    rewrite(saved, change)

    with pytest.raises(DataError, match=message) as caught:
        load(saved, embedder="small")
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    "weights",
    [np.ones((2, 6)), np.ones((3, 6), dtype=int), np.full((3, 6), np.nan), np.array("text")],
)
def test_arrays_that_do_not_fit_are_refused(saved: Path, weights: Any) -> None:
    """Another shape, no floats, no finite numbers."""
    rewrite(saved, lambda header: None, weights=weights)

    with pytest.raises(DataError, match=r"router\.npz: weights"):
        load(saved, embedder="small")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_run(saved: Path, tmp_path: Path) -> None:
    """An array of pickled objects is refused unread, and so is a bare pickle."""
    rewrite(saved, lambda header: None, weights=np.array([Bomb(tmp_path / "ran")], dtype=object))
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        load(saved, embedder="small")

    saved.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(DataError, match="is no router that `motet route train` saved"):
        load(saved, embedder="small")

    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_cut_or_changed_anywhere_is_refused_or_the_same(saved: Path) -> None:
    """Every length short of the whole and a wrong byte in any place end in a typed error, or in
    the router that was written."""
    whole = saved.read_bytes()
    expected: Any = load(saved, embedder="small")
    refused = 0
    for place in range(0, len(whole), 7):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :],
        ):
            saved.write_bytes(damaged)
            try:
                read: Any = load(saved, embedder="small")
            except DataError as exc:
                assert str(saved) in str(exc)
                refused += 1
            else:
                assert same(read.weights, expected.weights) and read.models == expected.models
    assert refused > len(whole) / 7


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """Nothing, a text, a folder, another archive, and one that would unpack to much."""
    path = tmp_path / "router.npz"
    with pytest.raises(DataError, match=r"router\.npz cannot be read: there is no such file"):
        load(path, embedder="small")
    path.mkdir()
    with pytest.raises(DataError, match=r"router\.npz cannot be read: Is a directory"):
        load(path, embedder="small")
    path.rmdir()
    path.write_text("{}")
    with pytest.raises(DataError, match="is no router that `motet route train` saved"):
        load(path, embedder="small")
    np.savez(path, other=np.ones(3))
    with pytest.raises(DataError, match=r"header\.npy"):
        load(path, embedder="small")
    data = io.BytesIO()
    np.save(data, np.zeros(1_000_000, dtype=np.uint8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", data.getvalue())
    with pytest.raises(DataError, match="compressed"):
        load(path, embedder="small")


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full half-way costs neither the old router nor leaves a part."""
    before = saved.read_bytes()

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match=r"router\.npz cannot be written.*No space"):
        save(trained(LinearRouter()), saved, embedder="small")

    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_what_is_no_router_cannot_be_saved(tmp_path: Path) -> None:
    """Only the kinds that `load` knows; a folder that does not exist is an error of the file."""
    stranger: Any = object()
    with pytest.raises(DataError, match="object cannot be saved"):
        save(stranger, tmp_path / "router.npz", embedder="small")
    with pytest.raises(
        DataError, match=r"router\.npz cannot be written: No such file or directory$"
    ):
        save(trained(LinearRouter()), tmp_path / "no" / "router.npz", embedder="small")
