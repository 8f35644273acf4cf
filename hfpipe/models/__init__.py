"""Models and tokenizers: named sizes, loading, heads.

Importing the package makes the Auto classes of transformers know the models it brings, LSTM, GRU, TextCNN, and its
attention implementation, "hfpipe".
"""

from hfpipe.models import architectures, attention

architectures.register()
attention.register()
