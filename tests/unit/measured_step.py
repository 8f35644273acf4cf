"""A training step of a small classifier, and what it takes of memory.

That is the growth of the resident set over what it was before the model, at its highest within three steps. It is
measured in a process of its own, since freed memory is reused.
"""

import resource
import sys
from multiprocessing.connection import Connection

import psutil
import torch
from transformers import BertConfig, BertForSequenceClassification

from hfpipe.training.objectives import ClassificationObjective

SHAPES = ((16, 128), (4, 512))
LAYERS = {"hidden_size": 256, "intermediate_size": 1_024, "num_hidden_layers": 4, "num_attention_heads": 4}


def build_classifier() -> BertForSequenceClassification:
    return BertForSequenceClassification(BertConfig(vocab_size=1_000, **LAYERS))


def train_three_steps(rows: int, tokens: int) -> None:
    model = build_classifier().train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(3):
        input_ids = torch.zeros((rows, tokens), dtype=torch.int64)
        mask = (torch.arange(tokens) < tokens - 1).long().expand(rows, tokens)
        labels = torch.zeros(rows, dtype=torch.int64)
        loss = ClassificationObjective().loss_sum(model(input_ids=input_ids, attention_mask=mask), labels)
        (loss / rows).backward()
        optimizer.step()
        optimizer.zero_grad()


def measure(rows: int, tokens: int) -> int:
    train_three_steps(2, 4)  # the first step of a process loads kernels
    before = psutil.Process().memory_info().rss
    train_three_steps(rows, tokens)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before


def send_measured(results: Connection, rows: int, tokens: int) -> None:
    """Measure in this process, which is for this alone, and send the bytes."""
    torch.set_num_threads(1)
    results.send(measure(rows, tokens))
