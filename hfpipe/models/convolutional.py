"""TextCNN (Kim 2014) as a Hugging Face classifier: windows of a few tokens, each filter's largest answer in a text.

Only windows that hold no padding count, on whichever side it lies. A text shorter than a window has one of that width
all the same, its end filled with zeros, so every text has an answer of every filter. `import hfpipe.models` makes the
Auto classes know it.
"""

from typing import Any, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from hfpipe.config.baseline_models import TEXTCNN
from hfpipe.models.recurrence import find_spread, rearrange


@strict
class TextCnnConfig(PreTrainedConfig):
    """What a TextCNN is made of: `num_filters` of each of `window_sizes`, in tokens.

    `classifier_dropout` lies before the last layer, a half as in the paper.
    """

    model_type = TEXTCNN

    vocab_size: int = 16_384
    embedding_size: int = 256
    window_sizes: list[int] | tuple[int, ...] = (3, 4, 5)
    num_filters: int = 100
    embedding_dropout: float = 0.0
    classifier_dropout: float = 0.5
    initializer_range: float = 0.1
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None


class TextCnnPreTrainedModel(PreTrainedModel):
    """What the parts have in common."""

    config: TextCnnConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _no_split_modules = ["Conv1d"]  # noqa: RUF012


class TextCnnModel(TextCnnPreTrainedModel):
    """Embedding and filters."""

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.filters = nn.ModuleList(
            nn.Conv1d(config.embedding_size, config.num_filters, size) for size in config.window_sizes
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: object,
    ) -> BaseModelOutputWithPooling:
        """Return the embeddings, tokens on the left, and each filter's largest answer, (rows, windows x filters).

        `attention_mask` (rows, positions) is 0 at padding; without it every position is a token.
        """
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        lengths = torch.full((embedded.shape[0],), embedded.shape[1], device=embedded.device)
        if attention_mask is not None:
            spread = find_spread(attention_mask)
            lengths = spread.mask.sum(dim=1)
            embedded = rearrange(embedded * spread.mask[:, :, None], spread.order)
        embedded = self.dropout(embedded)
        pooled = torch.cat([_largest(filters, embedded, lengths) for filters in self.filters], dim=1)
        return BaseModelOutputWithPooling(last_hidden_state=embedded, pooler_output=pooled)


class TextCnnForSequenceClassification(TextCnnPreTrainedModel):
    """A TextCNN classifier of texts."""

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__(config)
        self.model = TextCnnModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.num_filters * len(config.window_sizes), cast("int", config.num_labels))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Return logits (rows, labels), and the loss that `problem_type` asks for where `labels` are given."""
        pooled = self.model(input_ids, attention_mask, inputs_embeds).pooler_output
        logits = self.classifier(self.dropout(pooled))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, pooled_logits=logits, config=self.config, **kwargs)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def _largest(filters: nn.Module, embedded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the largest answer of each filter to the windows of a text, (rows, filters); tokens are on the left."""
    assert isinstance(filters, nn.Conv1d)
    size = filters.kernel_size[0]
    missing = max(size - embedded.shape[1], 0)
    answers = functional.relu(filters(functional.pad(embedded, (0, 0, 0, missing)).transpose(1, 2)))
    windows = (lengths - size + 1).clamp(min=1)
    counts = torch.arange(answers.shape[2], device=answers.device) < windows[:, None]
    # behind a rectifier nothing is below 0, so that a 0 is never larger than an answer that counts
    return answers.masked_fill(~counts[:, None, :], 0.0).amax(dim=2)
