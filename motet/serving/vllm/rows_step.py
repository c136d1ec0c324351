"""One step of the rows with rules: contrast, mix, mask, choose. The same for both model runners.

Rows of a pair are mixed only where both stand at the same place; otherwise the stop token `sync`
is forced, and the client goes on from what both have in common. What a row chooses while its
prompt is still being read is thrown away by the engine, so its partner's token is then in one of
the two completions only. No timing can make a wrong token common to both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from motet.serving.decoding import guidance
from motet.serving.decoding.choosing import choose
from motet.serving.decoding.weights import Ending, log_weight, write_end
from motet.serving.vllm.rows import Present, Row

logger = logging.getLogger(__name__)


class TokenUnknownError(Exception):
    """The engine has not yet said which token it chose."""


def carry_out(logits: Any, present: Sequence[Present], runner: int) -> Any:
    """Change the rows of `logits` as their rules say; never raises.

    Args:
        logits: float32 `[rows, V]`; changed in place.
        present: The rows with rules in this step.
        runner: Number of the model runner, which a probe is answered with.

    Returns:
        `logits`.
    """
    plain, weighted, coupled = [], [], []
    for p in present:
        if p.row.failure:
            _give_up(logits, p, p.row.failure)
        elif p.row.orders.probe == "runner":
            _force(logits, p.index, runner)
        elif p.row.orders.pair is not None:
            coupled.append(p)
        elif p.row.orders.weighted is not None:
            weighted.append(p)
        else:
            plain.append(p)
    if plain:
        _guarded(_mask_plain, logits, plain)
    if coupled:
        _guarded(_mix_pairs, logits, coupled)
    if weighted:
        _guarded(_weigh, logits, weighted)
    return logits


def _guarded(work: Any, logits: Any, rows: Sequence[Present]) -> None:
    """Do `work`; where it fails, end the requests instead of the engine."""
    try:
        work(logits, rows)
    except Exception as exc:
        logger.debug("decoding rules failed", exc_info=exc)
        for p in rows:
            _give_up(logits, p, f"{type(exc).__name__}: {exc}")


def _mask_plain(logits: Any, rows: Sequence[Present]) -> None:
    """Contrast layers and mask; the engine samples."""
    contrasted = [p for p in rows if any(r["rule"] == "dola" for r in p.row.orders.rules)]
    raw = {p.index: logits[p.index].clone() for p in contrasted}
    given_up = _contrast(logits, contrasted, raw) if contrasted else set()
    for p in rows:
        if not p.row.masks or p.index in given_up:
            continue
        try:
            _advance(p)
            line = logits[p.index]
            _apply_masks(p.row, line)
            if p.index in raw and not _has_choice(line):
                # What the contrast left is forbidden; the model's own logits are still right.
                line.copy_(raw[p.index])
                _apply_masks(p.row, line)
            if not _has_choice(line):
                _give_up(logits, p, "the rules leave no token to choose")
        except Exception as exc:
            _give_up(logits, p, f"{type(exc).__name__}: {exc}")


def _contrast(logits: Any, rows: Sequence[Present], raw: Mapping[int, Any]) -> set[int]:
    """Contrast the layers of `rows`; return the places of those that cannot be."""
    from motet.serving.vllm import layer_tap

    parameters = [next(dict(r) for r in p.row.orders.rules if r["rule"] == "dola") for p in rows]
    indices = [p.index for p in rows]
    try:
        changed = layer_tap.contrasted(logits, indices, parameters)
    except Exception as exc:
        for p in rows:
            logits[p.index] = raw[p.index]
        if len(rows) > 1:
            return set[int]().union(*(_contrast(logits, [p], raw) for p in rows))
        _give_up(logits, rows[0], f"{type(exc).__name__}: {exc}")
        return {rows[0].index}
    if changed is not logits:
        logits[indices] = changed[indices]
    return set()


def _mix_pairs(logits: Any, rows: Sequence[Present]) -> None:
    """Mix the rows of each pair, choose one token and write it to both."""
    members: dict[str, dict[str, Present]] = {}
    twice: list[Present] = []
    for p in rows:
        assert p.row.orders.pair is not None
        name, role = p.row.orders.pair
        found = members.setdefault(name, {})
        twice += [p] if role in found else []
        found.setdefault(role, p)
    for p in twice:
        _give_up(logits, p, f"pair {p.row.orders.pair} is there twice")
    by_rule: dict[str, list[tuple[Present, Present]]] = {}
    for pair in members.values():
        main, partner = pair.get("main"), pair.get("partner")
        if main is not None and partner is not None and _are_in_step(main, partner):
            assert main.row.orders.paired is not None
            by_rule.setdefault(main.row.orders.paired["rule"], []).append((main, partner))
        else:
            for p in pair.values():
                _force(logits, p.index, p.row.orders.sync)
    for rule, pairs in by_rule.items():
        _mix(logits, rule, pairs)


def _are_in_step(main: Present, partner: Present) -> bool:
    orders = main.row.orders, partner.row.orders
    return main.num_generated == partner.num_generated and orders[0].base == orders[1].base


def _mix(logits: Any, rule: str, pairs: Sequence[tuple[Present, Present]]) -> None:
    """Mix pairs by one rule. `sync` may be the token due: the client goes on with another one."""
    mains, partners = [m.index for m, _ in pairs], [p.index for _, p in pairs]
    strengths = [guidance.strength(m.row.orders.paired or {}) for m, _ in pairs]
    mixed = guidance.mixed(
        rule, logits[mains], logits[partners], torch.tensor(strengths, device=logits.device)
    )
    sound: list[int] = []
    for n, (main, partner) in enumerate(pairs):
        why = _masked_or_why(main, mixed[n])
        if why:
            _give_up(logits, main, why)
            _give_up(logits, partner, why)
        else:
            sound.append(n)
    if not sound:
        return
    rows = [pairs[n][0] for n in sound]
    choosings = [p.row.orders.choosing for p in rows]
    lines = mixed if len(sound) == len(pairs) else mixed[sound]
    chosen = choose(lines, choosings, [p.position for p in rows])  # type: ignore[arg-type]
    for p, token in zip(rows, chosen, strict=True):
        p.row.choice = (p.position, token)
    places = [i for n in sound for i in (mains[n], partners[n])]
    logits[places] = -torch.inf
    logits[places, [token for token in chosen for _ in range(2)]] = 0.0


def _masked_or_why(p: Present, line: Any) -> str:
    """Apply the row's further rules to the mixed `line`; return why it has no choice, or ''."""
    if not p.row.masks:
        return ""
    try:
        _advance(p)
        _apply_masks(p.row, line)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if _has_choice(line) else "the rules leave no token to choose"


def _weigh(logits: Any, rows: Sequence[Present]) -> None:
    """Choose tokens under a rule and keep their weights; write the weight behind the last."""
    open_rows: list[Present] = []
    lines: list[Any] = []
    for p in rows:
        try:
            line = _weighed_line(logits, p)
        except Exception as exc:
            _say_once(f"{type(exc).__name__}: {exc}")
            _end(p, "lost")
            line = None
        if line is None:
            _force(logits, p.index, _next_of_ending(p))
        else:
            open_rows.append(p)
            lines.append(line)
    if not open_rows:
        return
    choosings = [p.row.orders.choosing for p in open_rows]
    chosen = choose(
        torch.stack(lines),
        choosings,  # type: ignore[arg-type]
        [p.position for p in open_rows],
    )
    for p, token in zip(open_rows, chosen, strict=True):
        has_ended = token in p.row.eos_ids
        if has_ended:
            _end(p, "stop")
        written = _next_of_ending(p) if has_ended else token
        p.row.choice = (p.position, written)
        _force(logits, p.index, written)


def _weighed_line(logits: Any, p: Present) -> Any:
    """Return the masked logits of a row and keep its weight, or None where it is ending."""
    row, orders = p.row, p.row.orders
    if row.ending and p.num_generated > row.ending_from:
        return None
    row.ending = []
    if len(row.weights) < p.num_generated:
        # The engine took the request off its batch and forgot; the weights so far are gone.
        _end(p, "lost")
        return None
    del row.weights[p.num_generated :]
    if orders.max_tokens is not None and p.position >= orders.max_tokens:
        _end(p, "length")
        return None
    _advance(p)
    raw = logits[p.index].clone()
    raw[orders.sync] = -torch.inf
    # The weight is of what the other rules leave, so that they do not bias it.
    _apply_masks(row, raw)
    masked = raw.clone()
    assert row.weighed is not None and orders.choosing is not None
    row.weighed.mask(masked)
    weight = log_weight(raw, masked, orders.choosing.temperature)
    if not _has_choice(masked):
        raise ValueError("the rules leave no token to choose")
    row.weights.append(weight)
    return masked


def _end(p: Present, ending: Ending) -> None:
    """Begin to write the end of a weighted completion."""
    total = sum(p.row.weights) if ending != "lost" else 0.0
    p.row.ending = list(write_end(ending, total, p.row.orders.sync or 0))
    p.row.ending_from = p.num_generated


def _next_of_ending(p: Present) -> int:
    place = p.num_generated - p.row.ending_from
    return p.row.ending[min(place, len(p.row.ending) - 1)]


def _advance(p: Present) -> None:
    """Take the row's masks to where its tokens stand."""
    row = p.row
    if not row.needs_tokens or row.num_advanced == p.position:
        return
    tokens = list(p.tail(row.num_advanced))
    if tokens and tokens[-1] < 0 and row.choice[0] == p.position - 1:
        tokens[-1] = row.choice[1]
    if any(token < 0 for token in tokens):
        raise TokenUnknownError(
            "the engine does not tell the last token; start it with --logits-processors too"
        )
    for mask in (*row.masks, *([row.weighed] if row.weighed is not None else ())):
        mask.advance(tokens)
    row.num_advanced += len(tokens)
    if row.num_advanced != p.position:
        raise ValueError(f"{row.num_advanced} tokens are known of {p.position}")


def _apply_masks(row: Row, line: Any) -> None:
    for mask in row.masks:
        mask.mask(line)


def _has_choice(line: Any) -> bool:
    return bool((line > -torch.inf).any())


def _give_up(logits: Any, p: Present, why: str) -> None:
    """End the request: by `sync` where it has one, else by the model's end of turn."""
    _say_once(why)
    row = p.row
    if row.orders.weighted is not None:
        if not row.ending or p.num_generated <= row.ending_from:
            _end(p, "lost")
        _force(logits, p.index, _next_of_ending(p))
    elif row.orders.sync is not None:
        _force(logits, p.index, row.orders.sync)
    elif row.eos_ids:
        _force(logits, p.index, row.eos_ids[0])


def _force(logits: Any, index: int, token: int | None) -> None:
    line = logits[index]
    line.fill_(-torch.inf)
    line[0 if token is None or token >= line.shape[0] else token] = 0.0


@lru_cache(maxsize=256)
def _say_once(why: str) -> None:
    logger.error("decoding rules of a request cannot be carried out: %s", why)
