"""Fine-tune a text classifier on labelled texts, or train one from scratch.

    python recipes/finetune_classifier.py --config recipes/imdb/demo.yaml
    accelerate launch --config_file accelerate_configs/multi_cpu.yaml recipes/finetune_classifier.py \
        --config recipes/imdb/minilm.yaml --learning_rate 3e-5

Out comes a run directory whose top is a Hugging Face checkpoint with the label names in its config, and
beside it the scores (metrics.json), the record (run.json) and the loss curve.
"""

from hfpipe.config import RunConfig
from hfpipe.config.entry import quick_imports, run_recipe


def run(config: RunConfig) -> None:
    """Go through one run, from the seed to the record."""
    with quick_imports():
        from hfpipe.data.corpora import load_labelled
        from hfpipe.models.adapters import add_adapter
        from hfpipe.models.classifiers import load_classifier
        from hfpipe.training.loop import train
        from hfpipe.training.objectives import build_classification_objective
        from hfpipe.training.preparation import build_trainer, describe_model, tokenize_labelled_parts
        from hfpipe.training.recording import begin_classifier, finish, report_done
        from hfpipe.training.session import open_session
        from hfpipe.training.tasks import classification_task
        from hfpipe.training.text_tokenizers import prepare_text_tokenizer

    session = open_session(config)
    if session.is_done:
        return report_done(session)
    parts = load_labelled(config)
    begin_classifier(session, parts)

    tokenizer = prepare_text_tokenizer(session, parts)
    session.seed()  # a new head or model draws random weights
    loaded = load_classifier(session.model, parts.label_names, tokenizer, problem_type=parts.problem_type)
    rows = tokenize_labelled_parts(session, parts, tokenizer, loaded.model.config)
    model = add_adapter(config.model, loaded.model, new_parameters=loaded.new_parameters)
    describe_model(session, model, new_parameters=loaded.new_parameters)
    task = classification_task(build_classification_objective(config, parts), config, parts)
    trainer = build_trainer(session, model, tokenizer, rows=rows, task=task)
    metrics = train(session, trainer)

    from hfpipe.training.export import export_model  # the first step does not wait for these
    from hfpipe.training.judging import judge
    from hfpipe.training.ladder import climb_ladder
    from hfpipe.training.samples import show_classified

    judged = judge(session, trainer, rows=rows, parts=parts)
    judged = climb_ladder(session, parts, judged, run)
    export_model(trainer, rows.validation)
    show_classified(session, trainer, parts)
    return finish(session, trainer, metrics, evaluation=judged.record)


if __name__ == "__main__":
    run_recipe(run, "finetune_classifier")
