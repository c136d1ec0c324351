from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motet.serving.decoding.guidance import adacad, cad, guided, jensen_shannon, mixed, strength

MAIN, PARTNER = [2.0, 1.0, 0.0], [1.0, 1.0, 1.0]
LN2 = math.log(2)
rows = st.lists(st.floats(-30, 30, width=32), min_size=5, max_size=5)


def shares(logits):
    return torch.softmax(logits, -1).tolist()


def test_guidance_of_one_and_a_half_gives_the_known_probabilities() -> None:
    found = guided(torch.tensor(MAIN), torch.tensor(PARTNER), 1.5)

    assert shares(found) == pytest.approx([0.785597, 0.175290, 0.039113], abs=1e-6)


def test_plain_decoding_is_gamma_one_and_the_partner_alone_gamma_zero() -> None:
    main, partner = torch.tensor(MAIN), torch.tensor([0.3, -2.0, 5.0])

    assert guided(main, partner, 1.0).tolist() == main.tolist()
    assert guided(main, partner, 0.0).tolist() == partner.tolist()
    assert shares(guided(main, partner, 1)) == pytest.approx(
        [0.665241, 0.244728, 0.090031], abs=1e-6
    )


def test_cad_is_guidance_with_gamma_one_more_than_alpha() -> None:
    main, partner = torch.tensor(MAIN), torch.tensor(PARTNER)

    assert shares(cad(main, partner, 0.5)) == pytest.approx(
        [0.785597, 0.175290, 0.039113], abs=1e-6
    )
    assert cad(main, partner, 0.0).tolist() == MAIN


def test_adacad_takes_the_divergence_in_nats_for_alpha() -> None:
    main, partner = torch.tensor(MAIN), torch.tensor(PARTNER)

    assert float(jensen_shannon(main, partner)) == pytest.approx(0.068712, abs=1e-6)
    assert shares(adacad(main, partner)) == pytest.approx([0.684271, 0.235013, 0.080716], abs=1e-6)


def test_the_floor_is_alpha_where_the_rows_agree_more() -> None:
    main, partner = torch.tensor(MAIN), torch.tensor(PARTNER)

    assert shares(adacad(main, partner, 0.3)) == pytest.approx(shares(cad(main, partner, 0.3)))
    assert shares(adacad(main, partner, 0.01)) == pytest.approx(shares(adacad(main, partner)))


def test_each_row_of_a_batch_has_its_own_alpha() -> None:
    main = torch.tensor([MAIN, MAIN, [0.0, 0.0, 9.0]])
    partner = torch.tensor([PARTNER, MAIN, [9.0, 0.0, 0.0]])

    together = adacad(main, partner, torch.tensor([0.0, 0.3, 0.0]))

    for i, floor in enumerate((0.0, 0.3, 0.0)):
        assert together[i].tolist() == pytest.approx(adacad(main[i], partner[i], floor).tolist())


def test_the_divergence_of_half_shared_rows_is_half_of_ln_two() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0]).log(), torch.tensor([0.5, 0.0, 0.5]).log()

    assert float(jensen_shannon(p, q)) == pytest.approx(LN2 / 2, abs=1e-6)


def test_rows_that_share_no_token_are_ln_two_apart() -> None:
    p, q = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.0, 1.0]).log()

    assert float(jensen_shannon(p, q)) == pytest.approx(LN2, abs=1e-6)


def test_a_token_that_the_main_row_forbids_stays_forbidden() -> None:
    main, partner = torch.tensor([-math.inf, 1.0, 0.0]), torch.tensor([5.0, -math.inf, -math.inf])

    for gamma in (0.0, 0.5, 1.0, 3.0):
        found = guided(main, partner, gamma)
        assert found[0] == -math.inf
        assert not found.isnan().any()


@given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
def test_a_token_that_the_partner_alone_forbids_takes_no_guidance(
    first: float, second: float
) -> None:
    main, partner = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, -math.inf])

    found = guided(main + first, partner + second, 2.0)

    p, q = torch.log_softmax(main, -1), torch.log_softmax(partner, -1)
    wanted = torch.tensor([2 * p[0] - q[0], 2 * p[1] - q[1], p[2]])
    assert shares(found) == pytest.approx(shares(wanted), abs=1e-4)


@given(rows, rows, st.floats(0, 3), st.floats(-10, 10), st.floats(-10, 10))
def test_a_constant_added_to_either_row_changes_nothing(
    main, partner, gamma, first, second
) -> None:
    main, partner = torch.tensor(main), torch.tensor(partner)

    for rule in ("cfg", "cad", "adacad"):
        lines = [
            mixed(rule, (main + a)[None], (partner + b)[None], torch.tensor([gamma]))
            for a, b in ((0.0, 0.0), (first, second))
        ]
        assert shares(lines[0][0]) == pytest.approx(shares(lines[1][0]), abs=2e-3)


@given(rows, st.floats(0, 5))
def test_equal_rows_are_plain_decoding_at_any_strength(row, gamma) -> None:
    logits = torch.tensor([row])

    for rule in ("cfg", "cad", "adacad"):
        found = mixed(rule, logits, logits.clone(), torch.tensor([gamma]))
        assert shares(found[0]) == pytest.approx(shares(logits[0]), abs=1e-4)


@given(rows, rows)
def test_the_divergence_is_symmetric_and_at_most_ln_two(main, partner) -> None:
    p, q = torch.tensor(main), torch.tensor(partner)

    there, back = float(jensen_shannon(p, q)), float(jensen_shannon(q, p))

    assert there == pytest.approx(back, abs=1e-6)
    assert 0 <= there <= LN2 + 1e-6


@pytest.mark.parametrize(
    ("main", "partner"),
    [((5,), (5,)), ((4, 5), (5,)), ((5,), (4, 5)), ((3, 1, 5), (4, 5)), ((2, 3, 5), (1, 3, 5))],
)
def test_leading_dimensions_broadcast_in_every_formula(main, partner) -> None:
    generator = torch.Generator().manual_seed(3)
    p, q = (torch.randn(shape, generator=generator) for shape in (main, partner))
    leading = torch.broadcast_shapes(main, partner)[:-1]
    rows_of = [each.broadcast_to((*leading, 5)).reshape(-1, 5) for each in (p, q)]

    apart = jensen_shannon(p, q)

    assert apart.shape == leading
    by_hand = [float(jensen_shannon(*each)) for each in zip(*rows_of, strict=True)]
    assert apart.flatten().tolist() == pytest.approx(by_hand, abs=1e-6)
    for formula in (adacad, lambda a, b: guided(a, b, 1.5), lambda a, b: cad(a, b, 0.5)):
        found = formula(p, q)
        assert found.shape == (*leading, 5)
        for line, *each in zip(found.reshape(-1, 5), *rows_of, strict=True):
            assert line.tolist() == pytest.approx(formula(*each).tolist(), abs=1e-5)


def test_no_rows_have_no_divergence() -> None:
    assert jensen_shannon(torch.zeros(0, 5), torch.zeros(5)).shape == (0,)


def test_half_precision_rows_are_mixed_in_single_precision() -> None:
    main, partner = torch.tensor(MAIN).half(), torch.tensor(PARTNER).half()

    assert guided(main, partner, 1e5).dtype == torch.float32
    assert guided(main, partner, 1e5).isfinite().all()


def test_the_strength_of_a_rule_is_its_own_parameter() -> None:
    assert strength({"rule": "cfg", "gamma": 2}) == 2.0
    assert strength({"rule": "cad", "alpha": 0.5}) == 0.5
    assert strength({"rule": "adacad", "floor": 0.3}) == 0.3
