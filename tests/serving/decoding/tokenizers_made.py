"""Small real tokenizers, as models have them: by words' first spaces, and by bytes."""

from __future__ import annotations

from typing import Any

LETTERS = "abcd"


def sentencepiece_like() -> Any:
    """Make a tokenizer as Llama 2 has it: its decoder drops the text's leading space."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    space = "\N{LOWER ONE EIGHTH BLOCK}"
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = [space, *LETTERS, *(space + letter for letter in LETTERS), "ab", f"{space}ab"]
    merges = [(space, letter) for letter in LETTERS] + [("a", "b"), (space + "a", "b")]
    vocabulary = {name: place for place, name in enumerate([*names, *pieces])}
    made = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend(space), normalizers.Replace(" ", space)]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace(space, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def metaspace() -> Any:
    """Make a tokenizer with the pre-tokenizer and decoder of that name."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    space = "\N{LOWER ONE EIGHTH BLOCK}"
    pieces = [
        "<s>",
        "</s>",
        space,
        *LETTERS,
        *(space + letter for letter in LETTERS),
        "\N{EURO SIGN}",
    ]
    scores = [(piece, -float(place)) for place, piece in enumerate(["<unk>", *pieces])]
    made = Tokenizer(models.Unigram(scores, unk_id=0))
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


def byte_level() -> Any:
    """Make a tokenizer as GPT-2 has it: each byte is a token, and some words are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    space = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"
    merges = [("a", "b"), (space, "a")]
    names = ["<s>", "</s>", *alphabet, *(one + other for one, other in merges)]
    made = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, merges))
    made.add_special_tokens(["<s>", "</s>"])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


MAKERS = (sentencepiece_like, metaspace, byte_level)
