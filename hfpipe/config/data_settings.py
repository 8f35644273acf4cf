"""Settings of the data: where rows come from, which columns they have, what their labels are, and how long they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from hfpipe.config.cleaning_names import CLEANING_STEPS
from hfpipe.config.setting import FINETUNE, PRETRAIN, setting

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class DataSettings:
    """Where the texts come from and which rows are used."""

    dataset_name: str | None = setting(
        None, "A data set on the Hub, as in stanfordnlp/imdb, or 'demo:imdb', 25,000 reviews from the 'demo' extra."
    )
    dataset_config_name: str | None = setting(None, "Configuration of the data set, where it has several.")
    dataset_revision: str = setting("main", "Branch, tag or commit of the data set on the Hub.")
    train_split_name: str = setting("train", "Split of the data set that is trained on.")
    validation_split_name: str | None = setting(
        None, "Split of the data set that validates; without it the one called 'validation', if there is one."
    )
    test_split_name: str | None = setting(
        None, "Split of the data set that is scored once at the end; without it the one called 'test', if any."
    )
    dataset_mixture: tuple[Mapping[str, object], ...] | None = setting(
        None,
        "Training data from several sources: a list of mappings with dataset_name or train_file, weight, and "
        "optionally name, repeat and the source's own data keys.",
    )
    streaming: bool = setting(
        False,
        "Read the training data while training, for corpora that do not fit; needs max_steps.",
        recipes=(PRETRAIN,),
    )
    train_file: tuple[str, ...] | None = setting(
        None,
        "Training data: a file, a folder, a glob or a list of them (.csv .tsv .json .jsonl .parquet .arrow .txt, "
        "each also as .gz or .zst).",
    )
    validation_file: tuple[str, ...] | None = setting(
        None, "Validation data, for choosing the best checkpoint; without it a share of the training part is used."
    )
    test_file: tuple[str, ...] | None = setting(
        None, "Test data, scored once at the end and never used to choose anything."
    )
    text_column_names: tuple[str, ...] | None = setting(
        None,
        "The column that holds the text, or several to be joined; without it the column is found by name and said.",
    )
    text_column_delimiter: str = setting(" ", "What stands between the texts of several columns.")
    text_pair_column_name: str | None = setting(
        None, "The column of the second text, where two texts are judged together.", recipes=(FINETUNE,)
    )
    label_column_name: str | None = setting(
        None, "The column that holds the label; without it the column is found by name and said.", recipes=(FINETUNE,)
    )
    label_names: Mapping[str, str] | None = setting(
        None,
        "Readable names for labels of the file, as in '0=neg,1=pos'; unnamed labels are refused.",
        recipes=(FINETUNE,),
    )
    problem_type: str = setting(
        SINGLE_LABEL,
        "What a label is: one of several classes, any number of them, or a number to predict.",
        choices=(SINGLE_LABEL, MULTI_LABEL, REGRESSION),
        recipes=(FINETUNE,),
    )
    label_delimiter: str | None = setting(
        None,
        "What stands between the labels of a row, as in 'toxic;insult'; it makes the problem multi-label.",
        recipes=(FINETUNE,),
    )
    cleaning_steps: tuple[str, ...] = setting(
        (),
        "Steps that clean every text, by name and in order, before anything else is done with it: unescape_html, "
        "strip_html, normalize_nfc, normalize_nfkc, remove_invisible, mask_urls, remove_urls, mask_personal, "
        "lowercase, remove_stop_words, remove_punctuation, collapse_whitespace, tidy_lines; last, for the training "
        "part, deduplicate or deduplicate_near. Texts to predict go through the same ones.",
        choices=CLEANING_STEPS,
    )
    slice_column_names: tuple[str, ...] = setting(
        (),
        "Columns whose values are kept beside validation and test rows: the report tells the scores of each value.",
        change="free",
        recipes=(FINETUNE,),
    )
    field_delimiter: str | None = setting(
        None, "The delimiter of CSV files; without it ',' for .csv and a tab for .tsv, checked against the header."
    )
    encoding: str | None = setting(
        None, "Encoding of text files, as in cp1252; without it UTF-8, and files in another one are refused."
    )
    document_per: str = setting(
        "file",
        "What one document is in a plain-text file; paragraphs are separated by blank lines.",
        choices=("file", "line", "paragraph"),
        recipes=(PRETRAIN,),
    )
    split_seed: int | None = setting(
        None,
        "Seed of the validation split and of samples; without it 'seed' decides them too. With it runs of several "
        "seeds use the same rows.",
        minimum=0,
        maximum=2**32 - 1,
    )
    validation_fraction: float = setting(
        0.1,
        "Share of the training part held out for validation where no validation data are given.",
        above=0.0,
        maximum=0.5,
    )
    max_train_samples: int | None = setting(
        None, "Use at most this many training rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_eval_samples: int | None = setting(
        None, "Use at most this many validation rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_predict_samples: int | None = setting(
        None, "Use at most this many test rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_seq_length: int = setting(
        256,
        "Tokens a text or window may have, special tokens included; what long_texts does with longer ones is counted.",
        minimum=4,
        recipes=(FINETUNE,),
    )
    long_texts: str = setting(
        "head",
        "What is kept of a text over max_seq_length: its head, its tail, head and tail in equal parts, or all of it in "
        "overlapping windows whose scores are pooled.",
        choices=("head", "tail", "head_tail", "windows"),
        recipes=(FINETUNE,),
    )
    doc_stride: int = setting(32, "Tokens that neighbouring windows of a text share.", minimum=0, recipes=(FINETUNE,))
    max_windows: int = setting(
        16,
        "Windows a text may have; what goes beyond them is cut at the end and counted.",
        minimum=2,
        recipes=(FINETUNE,),
    )
    window_pooling: str = setting(
        "mean",
        "How the logits of a text's windows become one: their mean, or their maximum label by label.",
        choices=("mean", "max"),
        recipes=(FINETUNE,),
    )
    block_size: int = setting(
        512,
        "Tokens in one training sequence; documents are packed into blocks of exactly this length.",
        minimum=8,
        recipes=(PRETRAIN,),
    )
    cross_document_attention: bool = setting(
        True,
        "Let tokens of a block attend to the documents before their own; false masks documents from each other, in "
        "training and evaluation.",
        recipes=(PRETRAIN,),
    )
