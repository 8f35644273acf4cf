"""LSTM and GRU (Hochreiter & Schmidhuber 1997; Cho et al. 2014) as models of Hugging Face, for two tasks.

A classifier pools what its layers say of the tokens of a text, reading one way or both; a language model reads one way
and carries its state, so that a generated token costs one step. Padding changes nothing, on whichever side it lies.
`import hfpipe.models` makes the Auto classes know them. Refused is a language model that reads both ways.
"""

from typing import Any, ClassVar, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from hfpipe.config.baseline_models import GRU, LSTM
from hfpipe.models.recurrence import RecurrentStack, RecurrentState, Spread, find_spread

FORGET_BIAS = 1.0
"""A new LSTM keeps what it has read until it learns to forget (Jozefowicz et al. 2015)."""


@strict
class RecurrentConfig(PreTrainedConfig):
    """What LSTM and GRU models are made of.

    `hidden_size` is that of one direction. `pooling` says what a classifier sees of a text: the largest value at any
    token (Conneau et al. 2017), their mean, or the state after the last token of each direction. Dropout lies behind
    the embedding and behind each layer. A language model whose `hidden_size` is not its `embedding_size` has a
    projection between them, so that `tie_word_embeddings` holds for both.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    vocab_size: int = 16_384
    embedding_size: int = 256
    hidden_size: int = 256
    num_hidden_layers: int = 1
    bidirectional: bool = False
    pooling: Literal["max", "mean", "last"] = "max"
    embedding_dropout: float = 0.2
    hidden_dropout: float = 0.2
    initializer_range: float = 0.1
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    @property
    def output_size(self) -> int:
        """How many numbers the layers give of a token."""
        return self.hidden_size * (2 if self.bidirectional else 1)


@strict
class LstmConfig(RecurrentConfig):
    """What an LSTM is made of."""

    model_type = LSTM


@strict
class GruConfig(RecurrentConfig):
    """What a GRU is made of."""

    model_type = GRU


class RecurrentPreTrainedModel(PreTrainedModel):
    """What the models have in common: how weights begin, and that a state is carried."""

    config: RecurrentConfig
    base_model_prefix = "model"
    cell: ClassVar[str] = "lstm"
    supports_gradient_checkpointing = False
    _no_split_modules = ["RecurrentLayer"]  # noqa: RUF012
    _is_stateful = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, nn.RNNBase):
            super()._init_weights(module)
            return
        bound = module.hidden_size**-0.5
        for name, parameter in module.named_parameters():
            init.uniform_(parameter, -bound, bound)
            if name == "bias_ih_l0" and isinstance(module, nn.LSTM):
                # gates lie in the order input, forget, cell, output; copied, for a slice does not know it was loaded
                raised = parameter.clone()
                raised[module.hidden_size : 2 * module.hidden_size] = FORGET_BIAS
                init.copy_(parameter, raised)


class RecurrentModel(RecurrentPreTrainedModel):
    """Embedding and layers."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.stack = RecurrentStack(
            self.cell,
            config.embedding_size,
            config.hidden_size,
            layers=config.num_hidden_layers,
            bidirectional=config.bidirectional,
            dropout=config.hidden_dropout,
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: RecurrentState | None = None,
        use_cache: bool | None = None,
        **kwargs: object,
    ) -> BaseModelOutputWithPast:
        """Return what the layers say of each token, (rows, positions, output_size), and the state where it is carried.

        `attention_mask` (rows, positions) is 0 at padding; one over earlier tokens too is read at its end. Without it
        every position is a token.
        """
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        embedded = self.dropout(embedded)
        spread = None if attention_mask is None else find_spread(attention_mask[:, -embedded.shape[1] :])
        wanted = self.config.use_cache if use_cache is None else use_cache
        if self.config.bidirectional or not (wanted or past_key_values):
            return BaseModelOutputWithPast(last_hidden_state=self.stack(embedded, spread))
        told = None if spread is None or bool(spread.mask.all()) else spread
        hidden, state = self.stack.carry(embedded, told, past_key_values)
        past = cast("Any", state) if wanted else None
        return BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=past)


class RecurrentForSequenceClassification(RecurrentPreTrainedModel):
    """A linear layer over what the layers say of a text, pooled."""

    body: ClassVar[type[RecurrentModel]] = RecurrentModel

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.model = self.body(config)
        self.classifier = nn.Linear(config.output_size, cast("int", config.num_labels))
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
        outputs = self.model(input_ids, attention_mask, inputs_embeds, use_cache=False)
        hidden = outputs.last_hidden_state
        mask = hidden.new_ones(hidden.shape[:2]) if attention_mask is None else attention_mask
        logits = self.classifier(pool_tokens(hidden, mask.bool(), self.config))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, pooled_logits=logits, config=self.config, **kwargs)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class RecurrentForCausalLM(RecurrentPreTrainedModel, GenerationMixin):
    """A language model: what comes next after each token."""

    body: ClassVar[type[RecurrentModel]] = RecurrentModel
    _tied_weights_keys = {  # noqa: RUF012
        "lm_head.weight": "model.embed_tokens.weight"
    }

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        if config.bidirectional:
            raise ValueError("a language model reads one way; leave bidirectional out")
        self.model = self.body(config)
        is_wide = config.hidden_size != config.embedding_size
        self.projection = nn.Linear(config.hidden_size, config.embedding_size) if is_wide else nn.Identity()
        self.lm_head = nn.Linear(config.embedding_size, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """Have `generate` make no cache of attention: the first forward pass makes the state."""
        return False

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: RecurrentState | None = None,
        use_cache: bool | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits (rows, positions, vocabulary) of the next token; of the last `logits_to_keep` alone, if any.

        The loss is that of transformers: labels equal the inputs and are shifted there.
        """
        outputs = self.model(input_ids, attention_mask, inputs_embeds, past_key_values, use_cache)
        logits = self.lm_head(self.projection(outputs.last_hidden_state[:, -logits_to_keep:]))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)


def pool_tokens(hidden: torch.Tensor, mask: torch.Tensor, config: RecurrentConfig) -> torch.Tensor:
    """Return one vector a row of `hidden` (rows, positions, output_size), of the tokens that `mask` marks."""
    if config.pooling == "mean":
        return (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1).clamp(min=1)[:, None]
    if config.pooling == "max":
        lowest = torch.finfo(hidden.dtype).min
        return hidden.masked_fill(~mask[:, :, None], lowest).amax(dim=1)
    rows = torch.arange(hidden.shape[0], device=hidden.device)
    marked = mask.to(torch.uint8)
    first, last = marked.argmax(dim=1), hidden.shape[1] - 1 - marked.flip(1).argmax(dim=1)
    ends = hidden[rows, last, : config.hidden_size]
    return torch.cat([ends, hidden[rows, first, config.hidden_size :]], dim=1) if config.bidirectional else ends


class LstmModel(RecurrentModel):
    """Embedding and LSTM layers."""

    config: LstmConfig


class GruModel(RecurrentModel):
    """Embedding and GRU layers."""

    config: GruConfig
    cell: ClassVar[str] = "gru"


class LstmForSequenceClassification(RecurrentForSequenceClassification):
    """An LSTM classifier of texts."""

    config: LstmConfig
    body: ClassVar[type[RecurrentModel]] = LstmModel


class GruForSequenceClassification(RecurrentForSequenceClassification):
    """A GRU classifier of texts."""

    config: GruConfig
    cell: ClassVar[str] = "gru"
    body: ClassVar[type[RecurrentModel]] = GruModel


class LstmForCausalLM(RecurrentForCausalLM):
    """An LSTM language model."""

    config: LstmConfig
    body: ClassVar[type[RecurrentModel]] = LstmModel


class GruForCausalLM(RecurrentForCausalLM):
    """A GRU language model."""

    config: GruConfig
    cell: ClassVar[str] = "gru"
    body: ClassVar[type[RecurrentModel]] = GruModel


__all__ = [
    "GruConfig",
    "GruForCausalLM",
    "GruForSequenceClassification",
    "GruModel",
    "LstmConfig",
    "LstmForCausalLM",
    "LstmForSequenceClassification",
    "LstmModel",
    "RecurrentConfig",
    "RecurrentState",
    "Spread",
]
