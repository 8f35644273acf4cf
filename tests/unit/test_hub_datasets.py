"""Data sets of the Hub, over the wire: configurations, splits, revisions, class names, the cache, and every refusal."""

from pathlib import Path

import datasets
import pytest
from hub_contents import CLASSES, REVIEWS, make_rows, publish_data
from hub_server import READ_TOKEN, WRITE_TOKEN, HubServer
from huggingface_hub import HfApi

from hfpipe import repositories
from hfpipe.config import DataSettings
from hfpipe.data.accounting import fingerprint
from hfpipe.data.findings import Findings
from hfpipe.data.records import Reading, open_records
from hfpipe.data.sources import PartSource, Sources, find_sources
from hfpipe.repositories import Wanted, download


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "WAITS", (0.01, 0.01))


def load(*, labelled: bool = True, cache_dir: Path | None = None, **named: object) -> tuple[Sources, tuple[str, ...]]:
    """Return the sources of the test's data set and the notes made of it."""
    findings = Findings()
    given = DataSettings(**{"dataset_name": REVIEWS, **named})  # type: ignore[arg-type]
    sources = find_sources(given, findings, labelled=labelled, cache_dir=None if cache_dir is None else str(cache_dir))
    findings.raise_if_any()
    return sources, findings.notes


def refusals(*, cache_dir: Path | None = None, **named: object) -> list[str]:
    findings = Findings()
    given = DataSettings(**{"dataset_name": REVIEWS, **named})  # type: ignore[arg-type]
    find_sources(given, findings, cache_dir=None if cache_dir is None else str(cache_dir))
    return [str(problem) for problem in findings.problems()]


def rows_of(part: PartSource | None) -> list[tuple[object, object]]:
    assert part is not None
    findings = Findings()
    streams = [open_records(file, findings, reading=Reading()) for file in part.files]
    return [
        (record.values["text"], record.values["label"]) for stream in streams if stream for record in stream.records
    ]


def test_splits_are_found_by_their_names(hub: HubServer) -> None:
    splits = {"train": make_rows(8), "dev": make_rows(4, offset=8), "test": make_rows(2, offset=12)}
    commit = publish_data(splits)
    sources, notes = load()
    assert rows_of(sources.train) == [(row["text"], row["label"]) for row in splits["train"]]
    assert len(rows_of(sources.validation)) == 4 and len(rows_of(sources.test)) == 2
    assert sources.label_names == (("0", "neg"), ("1", "pos"))
    assert [file.name for file in sources.train.files] == ["acme/reviews[train]"]
    assert notes == (
        f"acme/reviews at commit {commit}, configuration 'default': train from split 'train', "
        "validation from split 'dev', test from split 'test'",
    )


def test_splits_are_taken_as_named(hub: HubServer) -> None:
    publish_data({"full": make_rows(8), "validation": make_rows(4, offset=8), "held": make_rows(2, offset=12)})
    named = {"train_split_name": "full", "validation_split_name": "held", "test_split_name": "validation"}
    sources, _ = load(**named)
    assert [len(rows_of(part)) for part in (sources.train, sources.validation, sources.test)] == [8, 2, 4]
    assert refusals() == [
        "train_split_name: train: acme/reviews has no split of this name; there are 'full', 'validation', 'held'"
    ]
    assert refusals(train_split_name="full", validation_split_name="full", test_split_name="train[:5]") == [
        "test_split_name: train[:5]: acme/reviews has no split of this name; there are 'full', 'validation', 'held'",
        "validation_split_name: full: is another part already; name another split",
    ]


def test_a_split_without_labels_is_used_where_it_was_named(hub: HubServer) -> None:
    publish_data({"train": make_rows(8), "test": make_rows(4, offset=8, labels=(-1,))})
    sources, notes = load()
    assert sources.test is None
    assert notes[0] == "acme/reviews: split 'test' is not used: no row of it has a label"
    assert len(rows_of(load(test_split_name="test")[0].test)) == 4
    assert len(rows_of(load(labelled=False)[0].test)) == 4


def test_configurations(hub: HubServer) -> None:
    publish_data({"train": make_rows(8)}, config_name="long")
    publish_data({"train": make_rows(4)}, config_name="short")
    assert len(rows_of(load(dataset_config_name="short")[0].train)) == 4
    assert len(rows_of(load(dataset_config_name="long")[0].train)) == 8
    assert refusals() == [
        "dataset_name: acme/reviews: has 2 configurations; set dataset_config_name to one of 'long', 'short'"
    ]
    assert refusals(dataset_config_name="shrt") == [
        "dataset_config_name: shrt: acme/reviews has no configuration of this name; there are 'long', 'short'"
    ]


def test_class_names_are_those_of_the_label_in_use(hub: HubServer) -> None:
    rows = make_rows(8)
    tones = datasets.ClassLabel(names=["calm", "loud", "shrill"])
    rows = rows.add_column("tone", [row % 3 for row in range(8)], feature=tones)
    publish_data({"train": rows.add_column("stars", list(range(8)))})
    assert load()[0].label_names == (("0", "neg"), ("1", "pos"))
    assert load(label_column_name="tone")[0].label_names == (("0", "calm"), ("1", "loud"), ("2", "shrill"))
    assert load(label_column_name="stars")[0].label_names == ()
    assert load(labelled=False)[0].label_names == ()


def test_a_revision_stays_what_it_is(hub: HubServer) -> None:
    first = publish_data({"train": make_rows(4)})
    HfApi(token=WRITE_TOKEN).create_tag(REVIEWS, tag="v1", repo_type="dataset")
    second = publish_data({"train": make_rows(6)})
    identities = {}
    for revision, count in (("v1", 4), (first, 4), ("main", 6), (second, 6)):
        sources, _ = load(dataset_revision=revision)
        assert len(rows_of(sources.train)) == count
        (file,) = sources.train.files
        identities[revision] = fingerprint(file).sha256
    assert identities["v1"] == identities[first] != identities["main"] == identities[second]
    assert refusals(dataset_revision="v2") == [
        "dataset_revision: v2: acme/reviews has no branch, tag or commit of this name; "
        "the branches are main; the newest tags are v1"
    ]


def test_a_fingerprint_is_the_same_from_every_cache(hub: HubServer, tmp_path: Path) -> None:
    publish_data({"train": make_rows(4)})
    files = [load(cache_dir=tmp_path / name)[0].train.files[0] for name in ("a", "b")]
    assert files[0].path.is_relative_to(tmp_path / "a") and files[1].path.is_relative_to(tmp_path / "b")
    assert fingerprint(files[0]).sha256 == fingerprint(files[1]).sha256


def test_private_data_need_a_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_data({"train": make_rows(4)}, private=True)
    assert refusals() == [
        "dataset_name: acme/reviews: no public data set on the Hub; "
        "check the name; if it is private, set HF_TOKEN or run 'hf auth login'"
    ]
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert len(rows_of(load()[0].train)) == 4


def test_without_the_hub_the_cache_serves_the_revision(hub: HubServer, tmp_path: Path) -> None:
    publish_data({"train": make_rows(4)})
    HfApi(token=WRITE_TOKEN).create_tag(REVIEWS, tag="v1", repo_type="dataset")
    given = {"dataset_revision": "v1", "cache_dir": tmp_path}
    sources, notes = load(**given)  # type: ignore[arg-type]
    publish_data({"train": make_rows(6)})
    load(cache_dir=tmp_path)
    hub.stop()
    assert load(**given) == (sources, notes)  # type: ignore[arg-type]
    assert len(rows_of(load(cache_dir=tmp_path)[0].train)) == 6
    (told,) = refusals()
    assert told.startswith("dataset_name: acme/reviews: is not in the cache ")
    assert told.endswith("; try again with a connection, or give files as train_file; the cache holds acme/reviews")


def test_a_cache_that_lacks_the_rows_of_a_revision_does_not_serve_others(hub: HubServer, tmp_path: Path) -> None:
    publish_data({"train": make_rows(4)})
    load(cache_dir=tmp_path)
    publish_data({"train": make_rows(6)})
    wanted = Wanted("dataset", REVIEWS, "main", "dataset_name", "dataset_revision", str(tmp_path))
    download(wanted, ["README.md"])
    hub.stop()
    (told,) = refusals(cache_dir=tmp_path)
    assert told.startswith(f"dataset_name: acme/reviews: is not whole in the cache {tmp_path}, and the Hub is not")


def test_the_cache_does_not_guess_between_configurations(hub: HubServer) -> None:
    publish_data({"train": make_rows(8)}, config_name="long")
    publish_data({"train": make_rows(4)}, config_name="short")
    load(dataset_config_name="long")
    load(dataset_config_name="short")
    hub.stop()
    assert len(rows_of(load(dataset_config_name="short")[0].train)) == 4
    assert refusals() == [
        "dataset_name: acme/reviews: the cache has 2 configurations; set dataset_config_name to one of 'long', 'short'"
    ]


def test_what_is_no_data_set(hub: HubServer) -> None:
    api = HfApi(token=WRITE_TOKEN)
    api.create_repo(REVIEWS, repo_type="dataset", private=False)
    assert refusals() == [
        "dataset_name: acme/reviews: cannot be loaded (The directory at hf://datasets/acme/reviews@"
        f"{hub.repository(REVIEWS, kind='dataset').head.id} doesn't contain any data files); "
        f"see {hub.url}/datasets/acme/reviews"
    ]
    api.upload_file(path_or_fileobj=b"", path_in_repo="reviews.py", repo_id=REVIEWS, repo_type="dataset")
    assert refusals() == [
        "dataset_name: acme/reviews: cannot be loaded (Dataset scripts are no longer supported, but found reviews.py); "
        "try dataset_revision: refs/convert/parquet, or give its files as train_file"
    ]


def test_class_names_of_the_test_data() -> None:
    assert make_rows(1).features["label"].names == list(CLASSES)
