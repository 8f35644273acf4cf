"""Models and tokenizers: named sizes, loading, heads.

Importing the package makes the Auto classes of transformers know the models it brings: LSTM, GRU, TextCNN.
"""

from hfpipe.models.architectures import register

register()
