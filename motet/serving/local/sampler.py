"""Choose the next token of each row from its logits.

S is the number of rows, V the size of the vocabulary.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from motet.errors import MotetError, RequestRejectedError
from motet.serving.local.contrast import Contrast, Seen
from motet.serving.local.masks import MaskStack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motet.engine import LogitsRule, Sampling

_FIRST_LOOK = 256
"""How many of the likeliest tokens top_p looks at before it sorts the whole vocabulary."""
_LEAST_TEMPERATURE = 1e-5
"""Below it the scores would overflow, and the choice is the likeliest token anyway."""


@dataclass(slots=True)
class RowSampler:
    """What one completion needs to choose its tokens."""

    prompt_ids: Sequence[int]
    output_ids: list[int]
    """Grows while the completion runs."""
    sampling: Sampling
    """With the model's defaults filled in."""
    generator: Any
    contrast: Contrast | None = None
    """What is compared with the model's logits, or None."""
    own: Sequence[LogitsRule] = ()
    """The caller's own functions on logits."""
    masks: MaskStack = field(default_factory=MaskStack)
    counts: dict[int, int] = field(default_factory=dict)
    """How often each token was generated."""

    @property
    def changes_logits(self) -> bool:
        """Whether anything but temperature and filters comes between logits and choice."""
        s = self.sampling
        penalised = s.presence_penalty or s.frequency_penalty
        repeated = s.repetition_penalty is not None and s.repetition_penalty != 1
        return bool(penalised or repeated or self.contrast or self.own or self.masks)

    @property
    def is_greedy(self) -> bool:
        return (self.sampling.temperature or 0.0) < _LEAST_TEMPERATURE

    @property
    def filters(self) -> bool:
        """Whether top_k, top_p or min_p leaves tokens out."""
        s = self.sampling
        return bool((s.top_k or -1) > 0 or (s.top_p or 1.0) < 1 or s.min_p)


@dataclass(frozen=True, slots=True)
class Choice:
    """The token of one row, or why there is none."""

    token: int = -1
    logprob: float = 0.0
    """Of the model itself, in nats; 0 unless asked for."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens by the model itself with their logprobs, best first."""
    error: MotetError | None = None


def make_generator(seed: int | None, index: int) -> Any:
    """Return the random numbers of completion `index`; child i of a seeded request has seed + i."""
    start = secrets.randbits(63) if seed is None else seed + index
    return torch.Generator().manual_seed(start % 2**63)


def choose(
    logits: Any, rows: Sequence[RowSampler], seen: Mapping[int, Seen] | None = None
) -> list[Choice]:
    """Choose a token for each row.

    The order is: logprobs of the raw logits, a paired rule, contrast of layers, penalties, the
    caller's own rules, masks, temperature, min_p, top_k, top_p. A row draws V numbers from its
    own generator and from nothing else, so its choices do not depend on the other rows.

    Args:
        logits: float32 `[S, V]`; changed in place.
        rows: S of them.
        seen: What rows with a contrast compare their logits with, by the row's place.
    """
    raw = _raw_logprobs(logits, rows)
    errors = _change_all(logits, rows, seen or {})
    chosen = logits.argmax(-1)
    sampled = [i for i, row in enumerate(rows) if not row.is_greedy and i not in errors]
    if sampled:
        chosen[sampled] = _sample(logits, rows, sampled)
    likely = logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    is_sound = (likely > float("-inf")).tolist()
    choices = []
    for i, token in enumerate(chosen.tolist()):
        error = errors.get(i)
        if error is None and not is_sound[i]:
            error = RequestRejectedError(
                "the decoding rules and the constraint leave no token to choose", status=400
            )
        if error is not None:
            choices.append(Choice(error=error))
            continue
        rows[i].counts[token] = rows[i].counts.get(token, 0) + 1
        if i in raw:
            logprobs, top = raw[i]
            choices.append(Choice(token, float(logprobs[token]), top))
        else:
            choices.append(Choice(token))
    return choices


def _change_all(
    logits: Any, rows: Sequence[RowSampler], seen: Mapping[int, Seen]
) -> dict[int, MotetError]:
    """Change `logits` by each row's rules and penalties; return what failed."""
    errors: dict[int, MotetError] = {}
    for i, row in enumerate(rows):
        if not row.changes_logits:
            continue
        try:
            logits[i] = _changed(logits[i], row, seen.get(i))
        except MotetError as error:
            errors[i] = error
        except Exception as exc:
            errors[i] = RequestRejectedError(f"no token can be chosen: {exc}", status=400)
            errors[i].__cause__ = exc
    return errors


def _raw_logprobs(logits: Any, rows: Sequence[RowSampler]) -> dict[int, tuple[Any, Any]]:
    """Return float `[V]` and the top of each row that asks for logprobs."""
    asked = [i for i, row in enumerate(rows) if row.sampling.logprobs is not None]
    if not asked:
        return {}
    logprobs = torch.log_softmax(logits[asked], dim=-1)
    found: dict[int, tuple[Any, Any]] = {}
    for i, line in zip(asked, logprobs, strict=True):
        k = min(rows[i].sampling.logprobs or 0, line.shape[0])
        top = torch.topk(line, k)
        found[i] = line, tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    return found


def _changed(logits: Any, row: RowSampler, seen: Seen | None) -> Any:
    """Apply rules and penalties to `logits` `[V]`, which stay as they are.

    Where masks allow nothing of what the contrast of layers keeps, the last layer decides alone.
    """
    if row.contrast is None or seen is None:
        return _shaped(logits, row)
    mixed = row.contrast.mixed(logits, seen)
    if row.contrast.dola is None:
        return _shaped(mixed, row)
    found = _shaped(row.contrast.contrasted(mixed, seen), row)
    return found if bool((found > float("-inf")).any()) else _shaped(mixed, row)


def _shaped(logits: Any, row: RowSampler) -> Any:
    """Apply penalties, the caller's own rules and masks to `logits` `[V]`."""
    changed = _penalised(logits, row)
    for rule in row.own:
        changed = _ruled(changed, row, rule)
    if row.masks:
        changed = row.masks.apply(changed, row.sampling.temperature or 0.0)
    return changed


def _ruled(logits: Any, row: RowSampler, rule: LogitsRule) -> Any:
    """Apply a rule of the caller's own, whose mistakes are the caller's."""
    name = getattr(rule, "identity", type(rule).__name__)
    try:
        changed = rule(row.prompt_ids, tuple(row.output_ids), logits)
        changed = torch.as_tensor(changed, dtype=logits.dtype)
    except Exception as exc:
        raise RequestRejectedError(
            f"decoding rule {name} raised {type(exc).__name__}: {exc}", status=400
        ) from exc
    if changed.shape != logits.shape:
        raise RequestRejectedError(
            f"decoding rule {name} returned shape {tuple(changed.shape)}, "
            f"not {tuple(logits.shape)}",
            status=400,
        )
    return changed


def _penalised(logits: Any, row: RowSampler) -> Any:
    """Apply the penalties.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1 for the repetition penalty, which
    counts prompt and output; negative logits are multiplied instead of divided, as transformers
    does. Presence and frequency penalties are OpenAI's and count the output only.
    """
    s = row.sampling
    changed = logits.clone()
    if s.repetition_penalty is not None and s.repetition_penalty != 1:
        seen = torch.tensor(sorted({*row.prompt_ids, *row.output_ids}))
        values = changed[seen]
        factor = s.repetition_penalty
        changed[seen] = torch.where(values > 0, values / factor, values * factor)
    if row.counts and (s.presence_penalty or s.frequency_penalty):
        tokens = torch.tensor(list(row.counts))
        times = torch.tensor(list(row.counts.values()), dtype=changed.dtype)
        changed[tokens] -= (s.presence_penalty or 0.0) + (s.frequency_penalty or 0.0) * times
    return changed


def _sample(logits: Any, rows: Sequence[RowSampler], indices: Sequence[int]) -> Any:
    """Sample rows `indices` by an exponential race: the least E / p wins, E ~ Exp(1) a token.

    The race ties each random number to a token. Unlike the inverse of the cumulative sum, a
    difference of 1e-6 in the logits, as other batch sizes cause, then hardly ever changes the
    winner.
    """
    noise = torch.empty((len(indices), logits.shape[1]), dtype=logits.dtype)
    for line, i in zip(noise, indices, strict=True):
        line.uniform_(generator=rows[i].generator)
    # A number of 0 gives E = inf, which never wins; log of E is all that the race needs.
    noise.log_().neg_().log_()
    temperatures = torch.tensor([[rows[i].sampling.temperature] for i in indices])
    scores = logits[list(indices)] / temperatures
    for line, i in zip(scores, indices, strict=True):
        if rows[i].filters:
            _filter(line, rows[i].sampling)
    return scores.sub_(noise).argmax(-1)


def _filter(scores: Any, sampling: Sampling) -> None:
    """Set the `scores` `[V]` (logits over temperature) that min_p, top_k or top_p leave out to -inf."""
    kept = scores
    if sampling.min_p:
        floor = kept.max() + torch.log(torch.tensor(sampling.min_p, dtype=kept.dtype))
        kept = kept.masked_fill(kept < floor, float("-inf"))
    size = kept.shape[0]
    top_k = sampling.top_k or -1
    k = min(top_k, size) if top_k > 0 else size
    top_p = sampling.top_p or 1.0
    if k < size or top_p < 1:
        values, places = _nucleus(kept, k, top_p)
        kept = torch.full_like(kept, float("-inf"))
        kept[places] = values
    scores.copy_(kept)


def _nucleus(scores: Any, k: int, top_p: float) -> tuple[Any, Any]:
    """Return the k best scores and of these the fewest with probability `top_p`, with places."""
    size = scores.shape[0]
    if k < size:
        values, places = torch.topk(scores, k)
        log_total = torch.logsumexp(values, 0)
    else:
        values, places = torch.topk(scores, min(_FIRST_LOOK, size))
        log_total = torch.logsumexp(scores, 0)
    if top_p >= 1:
        return values, places
    reached = (values - log_total).exp().cumsum(0)
    if reached[-1] < top_p and len(values) < k:
        values, places = torch.sort(scores, descending=True, stable=True)
        reached = (values - log_total).exp().cumsum(0)
    count = int((reached < top_p).sum()) + 1
    return values[:count], places[:count]
