"""Whether an embedding model that ranks the five candidates anew finds the right row more often than the index alone.

`python -m tests.benchmarks.rerank CATALOGUE MODEL [WAY]`, MODEL being the folder of a sentence-embedding model; with
WAY, only ways of asking that have this word in their name.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.answers import index
from tasks.answers.finding import find
from tests.benchmarks.retrieval import dropped, rows_of, sentence, typo


class Embedder:
    """Mean of the last layer over the tokens, of length one."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer, self.model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: list[str]) -> Any:
        import torch

        told = self.tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            made = self.model(**told).last_hidden_state
        mask = told["attention_mask"].unsqueeze(-1)
        mean = (made * mask).sum(1) / mask.sum(1)
        return mean / mean.norm(dim=1, keepdim=True)


def main(catalogue: str, model: str, way: str = "") -> None:
    """One line a way of asking: recall@1 of the index, of the embedding's order, and of the index where it fits."""
    embed, chance = Embedder(model), random.Random(1)
    shards, rows = rows_of(catalogue)
    ways = {
        "title with a slip": lambda row: typo(row["title"], chance),
        "title, a word left out": lambda row: dropped(row["title"], chance),
        "sentence of the description": lambda row: sentence(row["content"], chance),
    }
    with tempfile.TemporaryDirectory() as folder:
        index.update(Path(folder), shards)
        opened = index.Index(folder)
        print(f"{'question':32}{'asked':>7}{'index @1':>10}{'embedded @1':>13}{'index ms':>10}{'embedding ms':>14}")
        for name, made in ((name, made) for name, made in ways.items() if way in name):
            asked = [(row, text) for row in rows if (text := made(row))]
            first = second = 0
            looked, ranked = [], []
            for row, text in asked:
                began = time.perf_counter()
                found = find(text, opened).rows
                between = time.perf_counter()
                if found:
                    vectors = embed([text, *(f"{near.title}. {near.content}" for near in found)])
                    best = found[int((vectors[1:] @ vectors[0]).argmax())]
                    right = index.key_of(row["title"])
                    first += index.key_of(found[0].title) == right
                    second += index.key_of(best.title) == right
                ranked.append(1_000 * (time.perf_counter() - between))
                looked.append(1_000 * (between - began))
            rates = f"{first / len(asked):10.3f}{second / len(asked):13.3f}"
            print(f"{name:32}{len(asked):7}{rates}{statistics.median(looked):10.1f}{statistics.median(ranked):14.1f}")


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main(*sys.argv[1:])
