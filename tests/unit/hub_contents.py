"""Models and data sets put on the tests' Hub, as their owners would."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
from hub_server import WRITE_TOKEN
from huggingface_hub import HfApi

REVIEWS = "acme/reviews"
CLASSES = ("neg", "pos")


def publish_model(folder: Path, name: str, *, private: bool = False) -> str:
    """Put a checkpoint on the Hub and return the id of the commit."""
    api = HfApi(token=WRITE_TOKEN)
    api.create_repo(name, private=private, exist_ok=True)
    return api.upload_folder(repo_id=name, folder_path=folder).oid


def make_rows(count: int, *, offset: int = 0, labels: Sequence[int] = (0, 1)) -> datasets.Dataset:
    """Return rows with texts of their own and labels in turn, as a data set with named classes."""
    words = ("awful dull", "great warm")
    rows = range(offset, offset + count)
    columns = {
        "text": [f"a {words[row % 2]} film number {row}" for row in rows],
        "label": [labels[row % len(labels)] for row in rows],
    }
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(CLASSES))}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def publish_data(
    splits: Mapping[str, datasets.Dataset], *, config_name: str = "default", name: str = REVIEWS, private: bool = False
) -> str:
    """Put a data set on the Hub as `push_to_hub` does, as Parquet files, and return the id of the commit."""
    api = HfApi(token=WRITE_TOKEN)
    api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
    pushed = datasets.DatasetDict(dict(splits)).push_to_hub(name, config_name, token=WRITE_TOKEN)
    return str(pushed.oid)
