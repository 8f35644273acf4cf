"""The last layer of an encoder, computed for the one token that its head looks at.

A head like that of BERT takes the state of the first token; what the last layer makes of the others is never read. So
its queries, products and feed-forward are computed for that token, and keys and values for all: about an eighth of the
layer's work remains, forward and backward, with the same logits and the same gradients.

It wants layers built like those of BERT or of DistilBERT, which is seen by their parts, and attention that takes fewer
queries than keys. Whether a model computes the same so is asked of the model: the state of the first token stands in
the places of all others then, and a head that looks at these gives other logits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hfpipe.config.model_settings import OWN_ATTENTION
from hfpipe.models.layer_stacks import Unsuited, compare, find_stack, probe

_ATTENTIONS = (OWN_ATTENTION, "sdpa")


@dataclass(frozen=True)
class LayerForm:
    """How layers of a family are made: names of their attention, its projections, and all that has to be there.

    `finish` takes the layer, mixed values and states (rows, tokens, width), and treats each token by itself.
    """

    attention: str
    query: str
    key: str
    value: str
    others: frozenset[str]
    finish: Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]

    def fits(self, layer: nn.Module) -> bool:
        """Tell whether `layer` has the parts of this form."""
        projections = {f"{self.attention}.{name}" for name in (self.query, self.key, self.value)}
        return {name for name, _ in layer.named_modules()} >= self.others | projections

    def find_unread(self, layer: nn.Module) -> Iterator[nn.Parameter]:
        """Yield the parameters of `layer` that multiply one token of a text."""
        of_all = tuple(f"{self.attention}.{name}." for name in (self.key, self.value))
        return (parameter for name, parameter in layer.named_parameters() if not name.startswith(of_all))


def _finish_like_bert(layer: Any, mixed: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    attended = layer.attention.output(mixed, states)
    return cast("torch.Tensor", layer.output(layer.intermediate(attended), attended))


def _finish_like_distilbert(layer: Any, mixed: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    attended = layer.sa_layer_norm(layer.attention.out_lin(mixed) + states)
    return cast("torch.Tensor", layer.output_layer_norm(layer.ffn(attended) + attended))


_FORMS = (
    LayerForm(
        *("attention.self", "query", "key", "value"),
        frozenset({"attention.output.LayerNorm", "intermediate.dense", "output.LayerNorm"}),
        _finish_like_bert,
    ),
    LayerForm(
        *("attention", "q_lin", "k_lin", "v_lin"),
        frozenset({"attention.out_lin", "sa_layer_norm", "ffn.lin1", "output_layer_norm"}),
        _finish_like_distilbert,
    ),
)


@dataclass(frozen=True)
class PooledForward:
    """The forward of a layer of that form, for the first token of each text."""

    layer: nn.Module
    form: LayerForm

    def __call__(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return what the layer makes of the first of `hidden_states` (rows, tokens, width), for each token.

        Other arguments are those of decoders, which are None in an encoder, or change nothing.
        """
        attention: Any = self.layer.get_submodule(self.form.attention)
        attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
        first = hidden_states[:, :1]
        given = {self.form.query: first, self.form.key: hidden_states, self.form.value: hidden_states}
        heads = [
            attention.get_submodule(name)(states).unflatten(2, (-1, attention.attention_head_size)).transpose(1, 2)
            for name, states in given.items()
        ]
        mixed, _ = attend(
            attention,
            *heads,
            None if attention_mask is None else attention_mask[:, :, :1],
            dropout=attention.dropout.p if attention.training else 0.0,
            scaling=attention.scaling,
            is_causal=False,
        )
        return self.form.finish(self.layer, mixed.flatten(2), first).expand(hidden_states.shape)


def pool_last_layer(model: nn.Module) -> None:
    """Have the last layer of `model` computed for the first token alone.

    No parameter and no name of one changes. No random numbers are drawn.

    Raises:
        Unsuited: If `model` computes otherwise so, or not at all; it is left as it was.
    """
    owner, layers = find_stack(model)
    if owner.config._attn_implementation not in _ATTENTIONS:
        raise Unsuited(f"have attention {owner.config._attn_implementation}")
    form = next((form for form in _FORMS if form.fits(layers[-1])), None)
    if form is None or owner.config.to_dict().get("is_decoder"):
        raise Unsuited("are not built like those of BERT or DistilBERT")
    _, plain = probe(model, owner)
    if torch.equal(plain, plain[:1].expand(plain.shape)):
        raise Unsuited("give every text the same logits, so that nothing can be compared")
    vars(layers[-1])["forward"] = PooledForward(layers[-1], form)
    try:
        compare([plain], [probe(model, owner)[1]], owner=owner, way="for the first token alone")
    except Unsuited:
        del vars(layers[-1])["forward"]
        raise


def find_pooled(model: nn.Module) -> PooledForward | None:
    """Return how the last layer of `model` is computed for one token, None where it is computed for all."""
    found = (vars(layer).get("forward") for layer in model.modules())
    return next((forward for forward in found if isinstance(forward, PooledForward)), None)
