"""The classifier recipe: what comes out, and what stops it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from conftest import run_recipe_here, save_tiny_checkpoint
from test_exact_losses import classify

from hfpipe.errors import ConfigError, TrainingError
from hfpipe.records.run_directory import read_json


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "gpt2", "llama"])
def test_plain_transformers_load_the_result_with_its_label_names(
    architecture: str, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, pipeline

    output_dir = tmp_path / "run"
    classify(reviews_csv(28), checkpoints(architecture), output_dir)
    model = AutoModelForSequenceClassification.from_pretrained(output_dir)
    assert model.config.id2label == {0: "neg", 1: "pos"}
    assert model.config.problem_type == "single_label_classification"
    answers = pipeline("text-classification", model=str(output_dir), device="cpu")(["a good film", "bad, bad"])
    assert {answer["label"] for answer in answers} <= {"neg", "pos"}
    record = read_json(output_dir / "run.json")
    assert record["status"] == "done"
    assert record["label_names"] == ["neg", "pos"]
    assert any("score" in name or "classifier" in name for name in record["parameters"]["new"])
    assert record["parameters"]["count"] == record["parameters"]["trainable"]
    names = {path.name for path in output_dir.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "metrics.json", "history.jsonl"}
    assert not {"training_args.bin", "optimizer.pt"} & names


def test_every_new_parameter_was_trained(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    weights = {}
    for steps in (1, 6):
        output_dir = tmp_path / str(steps)
        classify(reviews_csv(28), checkpoints("bert"), output_dir, warmup_steps=0, num_train_epochs=steps)
        weights[steps] = safetensors.torch.load_file(output_dir / "model.safetensors")
    new = read_json(tmp_path / "6" / "run.json")["parameters"]["new"]
    assert "classifier.weight" in new
    assert all(not weights[1][name].equal(weights[6][name]) for name in new)


def test_the_seed_makes_the_head(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        classify(reviews_csv(28), checkpoints("bert"), tmp_path / name, seed=seed, num_train_epochs=1)
        results.append((tmp_path / name / "model.safetensors").read_bytes())
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_row(
    reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    save_tiny_checkpoint("bert", checkpoint)
    poison_token(checkpoint, " number")
    csv = tmp_path / "rows.csv"
    lines = [f"good film {index},pos\nbad film {index},neg\n" for index in range(20)]
    lines[7] = "good film,pos\nthe number,neg\n"
    csv.write_text("text,label\n" + "".join(lines))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(TrainingError) as error:
        classify(csv, checkpoint, tmp_path / "run", num_train_epochs=1, per_device_train_batch_size=4)
    message = str(error.value)
    assert f": rows {csv}:17: their loss is not finite" in message
    assert "the update would have destroyed the weights and was not made" in message
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines():
        assert np.isfinite(json.loads(line, parse_constant=pytest.fail)["loss"])
    # what failed gives the signals back, or Ctrl-C would do nothing from then on
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_gradient_whose_norm_overflows_stops_the_run(reviews_csv: Callable[[int], Path], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    checkpoint = tmp_path / "checkpoint"
    save_tiny_checkpoint("bert", checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    # each gradient is finite, but the sum of their squares is not: clipping would set all of them to zero
    model.classifier.weight.data *= 1e22
    model.save_pretrained(checkpoint)
    with pytest.raises(TrainingError, match="each loss is finite, the norm of the gradient is not"):
        classify(reviews_csv(28), checkpoint, tmp_path / "run")


def test_an_evaluation_that_is_not_finite_stops_the_run_and_names_the_row(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    save_tiny_checkpoint("bert", checkpoint)
    poison_token(checkpoint, " number")
    train, validation = tmp_path / "train.csv", tmp_path / "validation.csv"
    train.write_text("text,label\n" + "".join(f"good film {index},pos\nbad film {index},neg\n" for index in range(6)))
    validation.write_text("text,label\na good plot,pos\nthe number,neg\na bad plot,neg\n")
    settings = {
        "train_file": train,
        "validation_file": validation,
        "model_name_or_path": checkpoint,
        "output_dir": tmp_path / "run",
        "max_seq_length": 24,
        "num_train_epochs": 1,
        "bf16": "false",
        "disable_tqdm": "true",
    }
    with pytest.raises(TrainingError) as error:
        run_recipe_here("finetune_classifier", settings)
    assert f"evaluation 'eval' at step 1: rows {validation}:3: the loss is not finite" in str(error.value)
    assert read_json(tmp_path / "run" / "run.json")["status"] == "failed"


def poison_token(checkpoint: Path, text: str) -> None:
    """Make the embedding of the first token of `text` so large that rows which hold it have no finite loss."""
    from transformers import AutoTokenizer

    file = checkpoint / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    token = AutoTokenizer.from_pretrained(checkpoint)(text, add_special_tokens=False)["input_ids"][0]
    weights["embeddings.word_embeddings.weight"][token] = 3e38
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})


def test_fewer_processes_than_asked_for_stop_the_run(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError) as error:
        classify(reviews_csv(28), checkpoints("bert"), tmp_path / "run", num_processes=2)
    assert "--num_processes: 2: 1 started; launch with an accelerate file that starts as many" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_texts_longer_than_the_model_are_refused(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="over the model's 64 positions"):
        run_recipe_here(
            "finetune_classifier",
            {
                "train_file": reviews_csv(28),
                "model_name_or_path": checkpoints("bert"),
                "output_dir": tmp_path / "run",
                "max_seq_length": 65,
            },
        )


def test_a_metric_of_two_labels_is_refused_for_three(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    csv = tmp_path / "three.csv"
    csv.write_text("text,label\n" + "".join(f"a film number {index},{'abc'[index % 3]}\n" for index in range(30)))
    with pytest.raises(ConfigError, match="metric_for_best_model: f1: defined for 2 labels, and there are 3; choose"):
        classify(csv, checkpoints("bert"), tmp_path / "run", metric_for_best_model="f1")


def test_tensorboard_gets_its_events(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    classify(reviews_csv(28), checkpoints("bert"), tmp_path / "run", report_to="tensorboard", num_train_epochs=1)
    assert [path.stat().st_size > 0 for path in (tmp_path / "run").rglob("events.out.tfevents.*")] == [True]
