from __future__ import annotations

import math

import pytest
import torch

from motet.errors import RequestRejectedError
from motet.serving.decoding.constraints import ConstraintCompiler

END = 0


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(["<|end|>", *alphabet])}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|end|>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


@pytest.fixture(scope="module")
def compiler(tokenizer) -> ConstraintCompiler:
    return ConstraintCompiler(lambda: tokenizer, len(tokenizer), [END])


def allowed(mask, tokenizer) -> set[str]:
    logits = torch.zeros(len(tokenizer))
    mask.mask(logits)
    return {tokenizer.decode([t]) for t in range(len(tokenizer)) if logits[t] > -math.inf}


def test_only_what_the_constraint_goes_on_with_is_left(compiler, tokenizer) -> None:
    mask = compiler.mask({"kind": "choice", "value": ["ab", "ac", "xyz"]})

    assert allowed(mask, tokenizer) == {"a", "x"}
    mask.advance(tokenizer.encode("a"))
    assert allowed(mask, tokenizer) == {"b", "c"}


def test_a_whole_match_that_may_go_on_may_also_end(compiler, tokenizer) -> None:
    mask = compiler.mask({"kind": "regex", "value": "ab*"})

    mask.advance(tokenizer.encode("ab"))

    assert allowed(mask, tokenizer) == {"b", "<|end|>"}


def test_completions_of_one_constraint_stand_at_their_own_places(compiler, tokenizer) -> None:
    rule = {"kind": "json_schema", "value": {"enum": [1, 2]}}
    first, second = compiler.mask(rule), compiler.mask(rule)

    first.advance(tokenizer.encode("1"))

    assert allowed(first, tokenizer) == {"<|end|>"}
    assert allowed(second, tokenizer) == {"1", "2"}


def test_a_constraint_that_does_not_compile_is_refused(compiler) -> None:
    with pytest.raises(RequestRejectedError, match="regex"):
        compiler.mask({"kind": "regex", "value": "(("})


def test_a_token_that_the_constraint_forbids_is_refused(compiler, tokenizer) -> None:
    with pytest.raises(RequestRejectedError, match="cannot go on"):
        compiler.mask({"kind": "choice", "value": ["ab"]}).advance(tokenizer.encode("b"))
