"""The scorer of pairs: planted relations, sizes, and files."""

import json
import zipfile

import numpy as np
import pytest

from motet.errors import ConfigError, DataError
from motet.routing.knn import KnnRouter
from motet.routing.outcomes import Outcomes
from motet.routing.pair_scorer import (
    PairScorer,
    TrainedPairScorer,
    features,
    load_scorer,
    save_scorer,
)
from motet.routing.saving import load, save

RIDGE, NETWORK = PairScorer(hidden=()), PairScorer(hidden=(32,))


def planted(num: int, seed: int = 0):
    """A response is right where it points the way of its instruction, give or take."""
    rng = np.random.default_rng(seed)
    one = rng.standard_normal((num, 8))
    scores = (np.arange(num) % 2).astype(float)
    noise = rng.standard_normal((num, 8))
    other = np.where(scores[:, None] > 0, one + 0.3 * noise, noise)
    return one, other, scores


@pytest.mark.parametrize("settings", [RIDGE, NETWORK], ids=["ridge", "network"])
def test_a_relation_of_the_two_texts_is_learned(settings):
    """Neither text alone tells the score: only features of both can."""
    trained = settings.fit(*planted(600))
    one, other, scores = planted(200, seed=1)

    found = trained.score(one, other)

    assert np.mean((found > 0.5) == (scores > 0.5)) > 0.9
    assert trained.score(one, np.roll(one, 1, axis=0)).mean() < found[scores > 0].mean() - 0.3


def test_a_score_does_not_depend_on_what_is_scored_beside_it():
    trained = NETWORK.fit(*planted(100))
    one, other, _ = planted(20, seed=1)

    alone = [trained.score(one[row : row + 1], other[row : row + 1])[0] for row in range(20)]

    assert trained.score(one, other) == pytest.approx(alone, abs=1e-12)


def test_scores_are_cut_to_0_and_1():
    trained = RIDGE.fit(*planted(100))
    one, _, _ = planted(20, seed=1)

    found = trained.score(one, one)

    assert found.max() == 1.0
    assert trained.score(one, -one).min() == 0.0


def test_features_have_their_closed_form():
    found = features(np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]]))

    assert found[0].tolist() == [1, 0, 0, 1, 1, 1, 0, 0]
    same = features(np.array([[3.0, 4.0]]), np.array([[0.6, 0.8]]))[0]
    assert same[4:6] == pytest.approx([0, 0])
    assert same[6:].sum() == pytest.approx(2**0.5)


@pytest.mark.parametrize("settings", [RIDGE, PairScorer(hidden=(3, 4), max_epochs=2)])
def test_a_scorer_comes_back_from_its_file(settings, tmp_path):
    trained = settings.fit(*planted(50))
    path = tmp_path / "scorer.npz"

    save_scorer(trained, path, embedder="local:minilm")
    again = load_scorer(path, embedder="local:minilm")

    one, other, _ = planted(10, seed=2)
    assert np.array_equal(again.score(one, other), trained.score(one, other))
    with np.load(path) as file:  # holds plain arrays
        assert json.loads(file["header"].tobytes())["kind"] == "pair_scorer"
    with pytest.raises(DataError, match=r"scorer\.npz.*trained on embeddings of 'local:minilm'"):
        load_scorer(path, embedder="other")


def test_a_router_is_no_scorer_and_a_scorer_no_router(tmp_path):
    """Their files look alike; each reader tells its own."""
    table = Outcomes(
        prompts=("p", "q"), models=("a", "b"), scores=np.ones((2, 2)), costs=np.ones((2, 2))
    )
    router, scorer = KnnRouter().fit(table, np.eye(2)), RIDGE.fit(*planted(50))
    save(router, tmp_path / "router.npz", embedder="e")
    save_scorer(scorer, tmp_path / "scorer.npz", embedder="e")

    with pytest.raises(DataError, match="its kind is 'knn'; there are pair_scorer"):
        load_scorer(tmp_path / "router.npz", embedder="e")
    with pytest.raises(DataError, match="its kind is 'pair_scorer'"):
        load(tmp_path / "scorer.npz", embedder="e")
    with pytest.raises(DataError, match="TrainedPairScorer cannot be saved"):
        save(scorer, tmp_path / "x.npz", embedder="e")  # type: ignore[arg-type]


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "scorer.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.npy", b"nothing")

    with pytest.raises(DataError, match=r"scorer\.npz is no scorer that"):
        load_scorer(path, embedder="e")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": [0.5, 0.5, 0.5]}, "all 3 scores are 0.5"),
        ({"scores": [0.0, 1.5, 1.0]}, "from 0 to 1"),
        ({"scores": [0.0, np.nan, 1.0]}, "from 0 to 1"),
        ({"scores": []}, "shape"),
        ({"scores": ["a", "b", "c"]}, "no numbers"),
        ({"responses": np.ones((3, 5))}, "5 dimensions; 4 are needed"),
        ({"responses": np.ones((2, 4))}, "3 rows"),
        ({"responses": np.zeros((3, 4))}, "all zeros"),
        ({"instructions": np.full((3, 4), np.inf)}, "finite"),
    ],
)
def test_what_cannot_teach_is_refused(changes, said):
    rng = np.random.default_rng(0)
    given = {
        "instructions": rng.standard_normal((3, 4)),
        "responses": rng.standard_normal((3, 4)),
        "scores": [0.0, 1.0, 0.5],
    }

    with pytest.raises(DataError, match=said):
        RIDGE.fit(**{**given, **changes})


def test_embeddings_of_another_size_are_refused_when_it_serves():
    trained = RIDGE.fit(*planted(50))

    with pytest.raises(DataError, match="5 dimensions; 8 are needed"):
        trained.score(np.ones((1, 5)), np.ones((1, 8)))
    with pytest.raises(DataError, match="5 dimensions; 8 are needed"):
        trained.score(np.ones((1, 8)), np.ones((1, 5)))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: PairScorer(hidden=(0,)), ConfigError),
        (lambda: PairScorer(penalty=-1), ConfigError),
        (lambda: PairScorer(seed=-1), ConfigError),
        (lambda: TrainedPairScorer(weights=(np.ones((6, 1)),), biases=(np.ones(1),)), DataError),
        (lambda: TrainedPairScorer(weights=(np.ones((8, 2)),), biases=(np.ones(2),)), DataError),
        (lambda: TrainedPairScorer(weights=(), biases=()), DataError),
    ],
)
def test_wrong_settings_and_arrays_are_refused(make, error):
    with pytest.raises(error):
        make()
