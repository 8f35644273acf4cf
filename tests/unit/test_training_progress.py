"""The line a log event is told by."""

from hfpipe.training.progress import describe_event


def test_an_evaluation_shows_what_its_problem_is_judged_by() -> None:
    numbers = {"eval_loss": 0.25, "eval_mse": 0.25, "eval_mae": 0.5, "eval_r2": 0.9, "epoch": 1.0}
    assert (
        describe_event(3, 1200, numbers)
        == "step 3 of 1,200 (epoch 1.00): eval_loss 0.2500, eval_mae 0.5000, eval_r2 0.9000"
    )
    sets = {"eval_loss": 0.25, "eval_hamming_loss": 0.125, "eval_f1_micro": 0.5, "eval_f1_macro": 0.75}
    assert describe_event(3, 9, sets) == "step 3 of 9: eval_loss 0.2500, eval_f1_micro 0.5000, eval_f1_macro 0.7500"


def test_the_score_that_chooses_the_weights_is_shown() -> None:
    logs = {"eval_loss": 0.25, "eval_mcc": 0.5, "eval_recall": 0.125}
    assert describe_event(3, 9, logs, watched="mcc") == "step 3 of 9: eval_loss 0.2500, eval_mcc 0.5000"
    assert describe_event(3, 9, {"total_flos": 1.0}, watched="mcc") == ""
