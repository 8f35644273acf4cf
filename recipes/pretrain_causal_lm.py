"""Pretrain a causal language model from scratch, or continue one, on texts.

    python recipes/pretrain_causal_lm.py --config recipes/imdb_lm/tiny.yaml
    accelerate launch --config_file accelerate_configs/multi_cpu.yaml recipes/pretrain_causal_lm.py \
        --config recipes/imdb_lm/small.yaml --per_device_train_batch_size 4

Out comes a run directory whose top is a Hugging Face checkpoint, and beside it held-out loss, perplexity
and bits per byte (metrics.json), the record (run.json) and the loss curve.
"""

from hfpipe.config import RunConfig
from hfpipe.config.entry import quick_imports, run_recipe


def run(config: RunConfig) -> None:
    """Go through one run, from the seed to the record."""
    with quick_imports():
        from hfpipe.data.corpora import load_corpus
        from hfpipe.models.adapters import add_adapter
        from hfpipe.models.causal import load_causal_lm
        from hfpipe.training.corpus_rows import tokenize_corpus
        from hfpipe.training.loop import train
        from hfpipe.training.objectives import build_causal_lm_objective
        from hfpipe.training.preparation import build_trainer, describe_model, prepare_tokenizer
        from hfpipe.training.recording import begin_language_model, finish, report_done
        from hfpipe.training.session import open_session
        from hfpipe.training.tasks import causal_lm_task

    session = open_session(config)
    if session.is_done:
        return report_done(session)
    parts = load_corpus(config, processes=session.args.world_size)
    begin_language_model(session, parts)

    tokenizer = prepare_tokenizer(session, parts.train.texts)
    session.seed()  # a new model draws random weights
    whole = load_causal_lm(session.model, tokenizer, block_size=config.data.block_size)
    model = add_adapter(config.model, whole)
    rows = tokenize_corpus(session, parts, tokenizer)
    describe_model(session, model)
    task = causal_lm_task(build_causal_lm_objective(config))
    trainer = build_trainer(session, model, tokenizer, rows=rows, task=task)
    metrics = train(session, trainer)

    from hfpipe.training.export import export_model  # the first step does not wait for these
    from hfpipe.training.judging import judge
    from hfpipe.training.ladder import climb_ladder
    from hfpipe.training.samples import show_continuations

    judged = judge(session, trainer, rows=rows, parts=parts)
    judged = climb_ladder(session, parts, judged, run)
    export_model(trainer, rows.validation)
    show_continuations(session, trainer)
    return finish(session, trainer, metrics, evaluation=judged.record)


if __name__ == "__main__":
    run_recipe(run, "pretrain_causal_lm")
