"""The metrics of a language model, made of sums; apart from those of a classifier, whose scikit-learn loads slowly."""

import math


def language_model_metrics(loss_sum_nats: float, token_count: int, byte_count: int) -> dict[str, float]:
    """Return `loss` (nats a token), `perplexity` (its exponential) and `bits_per_byte` of a text.

    Bits per byte compares models of different tokenizers (Gao et al. 2020, The Pile, section 3.1).
    The perplexity of a loss above about 709 nats is infinite: it does not fit a float.

    Args:
        loss_sum_nats: Sum of the negative log-likelihoods of all predicted tokens.
        token_count: The predicted tokens.
        byte_count: UTF-8 bytes of the text those tokens stand for.
    """
    assert token_count > 0 and byte_count > 0, "an empty text has no loss"
    loss = loss_sum_nats / token_count
    return {
        "loss": loss,
        "perplexity": exponential(loss),
        "bits_per_byte": loss_sum_nats / (math.log(2) * byte_count),
    }


def exponential(value: float) -> float:
    """Return the exponential, infinite where it does not fit a float."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
