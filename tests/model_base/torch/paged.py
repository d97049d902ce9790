"""A paged layout: keys and values of all sequences in blocks scattered over memory."""

from typing import Any

import torch
from torch import Tensor

from model_base.torch.attention import Scoring, attend
from model_base.torch.layouts import Layout

BLOCK = 16


class Blocks:
    """Keys and values of all sequences, in blocks of 16 tokens scattered over memory."""

    def __init__(self, tables: list[list[int]]) -> None:
        self.tables = tables
        self.count = BLOCK * (1 + max(max(table) for table in tables))
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def of_layer(self, layer: int, key: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[slots, M, D]`` of a layer; what was not stored yet is not a number."""
        if layer not in self.layers:
            empty = torch.full((self.count, *key.shape[1:]), torch.nan)
            self.layers[layer] = empty, empty.clone()
        return self.layers[layer]

    def slots(self, sequence: int, length: int) -> list[int]:
        """Where the first ``length`` tokens of a sequence are."""
        table = self.tables[sequence]
        return [table[place // BLOCK] * BLOCK + place % BLOCK for place in range(length)]


class PagedLayout(Layout):
    """``[T]``: the new tokens of each sequence, whose earlier ones are in blocks."""

    def __init__(self, blocks: Blocks, before: list[int], new: list[int]) -> None:
        self.blocks, self.before, self.new = blocks, before, new
        self.positions = torch.cat(
            [torch.arange(b, b + n) for b, n in zip(before, new, strict=True)]
        )

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        all_keys, all_values = self.blocks.of_layer(layer, key)
        contexts, start = [], 0
        for sequence, (before, new) in enumerate(zip(self.before, self.new, strict=True)):
            slots = self.blocks.slots(sequence, before + new)
            own = slice(start, start + new)
            all_keys[slots[before:]] = key[own]
            all_values[slots[before:]] = value[own]
            keys, values = all_keys[slots], all_values[slots]
            q, k, v = (t.transpose(0, 1)[None] for t in (query[own], keys, values))
            context, _ = attend(q, k, v, scoring, causal=True)
            contexts.append(context[0].transpose(0, 1))
            start += new
        return torch.cat(contexts)

    def first_tokens(self, hidden: Tensor) -> Tensor:
        ends = torch.tensor(self.new).cumsum(0)
        return hidden[ends - torch.tensor(self.new)]

    def last_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[torch.tensor(self.new).cumsum(0) - 1]


LENGTHS = [37, 20, 3]


def decode(model: Any, sequences: list[Tensor]) -> list[Tensor]:
    """First outputs ``[L, …]`` for sequences of ``LENGTHS``, a few new tokens of each at a time."""
    blocks = Blocks(tables=[[4, 0, 7], [2, 9], [5]])
    done: list[int] = [0, 0, 0]
    parts: list[list[Tensor]] = [[], [], []]
    for new in ([16, 15, 1], [1, 1, 1], [19, 1, 1], [1, 3, 0]):
        spans = zip(sequences, done, new, strict=True)
        ids = torch.cat([ids[d : d + n] for ids, d, n in spans])
        outputs = model(ids, layout=PagedLayout(blocks, done, new))[0].split(new)
        for part, output in zip(parts, outputs, strict=True):
            part.append(output)
        done = [d + n for d, n in zip(done, new, strict=True)]
    assert done == LENGTHS
    return [torch.cat(part) for part in parts]
