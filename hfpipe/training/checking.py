"""All that can be known of a run without training.

Nothing is written, nothing is moved, no weights are read and no process group is joined. Problems of all parts come
back together; what depends on a part that is not there is left out. What the run itself would do is asked of the
functions the run calls; only memory and sampled corpora are estimates, and say so.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import torch
import transformers

from hfpipe.config import RunConfig, change_of
from hfpipe.config.batch_size import BUDGET
from hfpipe.config.sections import FINETUNE
from hfpipe.errors import Problem
from hfpipe.hub.access import check_token
from hfpipe.records.identity import Terms, check_same_files
from hfpipe.records.launches import begins_anew, wishes_hold
from hfpipe.records.opening import Opening, open_run
from hfpipe.records.resumption import find_resumption
from hfpipe.records.run_directory import CHECKPOINTS
from hfpipe.records.work import SPLITTING, Cut, Work, find_work_problems
from hfpipe.training.classifier_survey import survey_classifier
from hfpipe.training.corpus_survey import survey_causal_lm
from hfpipe.training.cursor import find_dealing
from hfpipe.training.estimate import Outline, StepShape, trace_evaluation, trace_training
from hfpipe.training.lengths import find_largest_batch, find_largest_by_tokens
from hfpipe.training.plan import FLASH, PerformancePlan, find_plan
from hfpipe.training.recording import find_fingerprints
from hfpipe.training.resources import (
    DiskNeed,
    MemoryNeed,
    check_disk,
    check_memory,
    find_available_memory,
    find_room,
)
from hfpipe.training.schedule import Schedule, count_saves, find_argument, keeps_best, plan_schedule
from hfpipe.training.session import fingerprint_of
from hfpipe.training.settling import settle_layers, settle_model, weigh_padding
from hfpipe.training.stream_survey import survey_stream
from hfpipe.training.surveys import PROBED_PARAMETERS, Draft, Survey


@dataclass(frozen=True)
class CheckReport:
    """What a check found: facts, one a line, and what keeps the run from working."""

    lines: tuple[str, ...]
    problems: tuple[Problem, ...]


def check(config: RunConfig) -> CheckReport:
    """Return all that can be known of the run of `config` without training it."""
    transformers.logging.set_verbosity_error()
    # what cannot be traced is told in a line of the report; torch would add a traceback
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
    use_cpu = find_argument(config, "use_cpu") or not torch.accelerator.is_available()
    device = torch.device("cpu") if use_cpu else torch.device(torch.accelerator.current_accelerator() or "cpu")
    draft = Draft(config, device)
    opening = draft.attempt(lambda: _check_output_dir(draft))
    if opening is None or opening.kind != "done":
        draft.attempt(lambda: check_token(config))
    if opening is not None and opening.kind == "resume":
        draft.begun = opening.run or {}
    draft.performance_plan = draft.attempt(lambda: find_plan(config))
    if draft.performance_plan is not None:
        draft.lines.append(f"device {device.type}, mixed precision {draft.performance_plan.precision}")
    told = len(draft.lines)
    survey = _find_survey(config)(draft)
    padded = None
    if survey.lengths is not None:
        padded = plan_schedule(config, survey.lengths, window_length=survey.window_length)
    if draft.performance_plan is not None:
        # the run tells it once it has asked its model
        draft.performance_plan = _settle_plan(draft, draft.performance_plan, survey=survey, padded=padded)
        draft.lines.insert(told, str(draft.performance_plan))
    if draft.begun:
        _check_begun(draft, survey)
    _check_steps(draft, survey, padded)
    return CheckReport(tuple(draft.lines), tuple(draft.problems))


def _find_survey(config: RunConfig) -> Callable[[Draft], Survey]:
    if config.recipe == FINETUNE:
        return survey_classifier
    return survey_stream if config.data.streaming else survey_causal_lm


def _check_output_dir(draft: Draft) -> Opening:
    """Return how the run would begin; under `fresh_start` an earlier run may have any settings."""
    config = draft.config
    fresh_start = begins_anew(config.output_dir, fresh_start=config.training.fresh_start)
    terms = Terms((lambda _: "free") if fresh_start else change_of, config.place, config.default_of)
    opening = open_run(config.output_dir, config.flat(), fresh_start=False, terms=terms)
    told = {
        "new": "a new run begins",
        "resume": "the run in it goes on",
        "done": "the run in it is done, and the same command would change nothing",
    }
    moved = fresh_start and opening.kind != "new"
    draft.lines.append(
        f"output_dir {config.output_dir}: " + ("the run in it is moved aside" if moved else told[opening.kind])
    )
    if opening.kind == "resume" and not moved:
        found = find_resumption(
            config.output_dir / CHECKPOINTS,
            config.training.resume_from_checkpoint if wishes_hold(config.output_dir) else None,
            config=fingerprint_of(config),
            needs_best=config.training.load_best_model_at_end,
        )
        where = found.name if found.folder else "the beginning: no checkpoint is there"
        draft.lines += [*found.lines(), f"goes on from {where}"]
    return Opening("new") if moved else opening


def _settle_plan(draft: Draft, plan: PerformancePlan, *, survey: Survey, padded: Schedule | None) -> PerformancePlan:
    """Return what model and texts leave of `plan`; they are asked in the order in which the run asks them."""
    outlined, build = survey.outlined, survey.build
    if outlined is not None:
        plan = settle_model(plan, outlined.model)
    if padded is not None:
        plan = weigh_padding(plan, padded, begun=draft.begun)
    asks = plan.liger or plan.pooled_last_layer or plan.padding_free
    if not asks or outlined is None or build is None:
        return plan
    # kernels of a GPU do not run on weights that lie elsewhere
    if outlined.parameters > PROBED_PARAMETERS or plan.attention == FLASH or plan.liger:
        draft.lines.append("only the run asks whether the layers of this model can leave out what nobody reads")
        return plan
    model = build()
    settled = settle_model(plan, model)
    return draft.attempt(lambda: settle_layers(settled, model, place=draft.config.place)) or settled


def _check_begun(draft: Draft, survey: Survey) -> None:
    """Refuse other rows a step, or other data; processes that nobody counts are as many as before."""
    config, run, tokens = draft.config, draft.begun, draft.config.training.max_tokens_per_batch
    batch, micro_batches = (find_argument(config, name) for name in SPLITTING)
    processes = config.training.num_processes or run["world_size"]
    cut = Cut(processes, batch if tokens is None else None, micro_batches, tokens)
    draft.problems += find_work_problems(run, Work(cut, run["precision"]))
    if survey.summary is not None:
        began, given = find_fingerprints(run["data"]), find_fingerprints(survey.summary.to_json())
        draft.attempt(lambda: check_same_files(began, given))


def _check_steps(draft: Draft, survey: Survey, padded: Schedule | None) -> None:
    """Find steps, disk and memory, as far as data and model are known."""
    if survey.outlined is not None:
        name = type(survey.outlined.model).__name__
        counts = f"{survey.outlined.parameters:,} parameters, {survey.outlined.trainable:,} trainable"
        draft.lines.append(f"{name}: {counts}")
    if padded is None:
        return
    schedule, plan = padded, draft.performance_plan
    if find_dealing(draft.begun, padding_free=plan is not None and bool(plan.padding_free)):
        schedule = plan_schedule(draft.config, padded.lengths, window_length=padded.window_length, padding_free=True)
    lines = schedule.stream_lines() if survey.is_stream else schedule.lines(unit=survey.unit, note=survey.note)
    draft.lines += lines
    rows, window = schedule.plan.num_rows, schedule.plan.rows_per_step
    if rows < window:
        told = f"the training part ({rows:,} rows) is smaller than one step ({window:,} rows)"
        draft.lines.append(f"warning: {told}: every epoch is one short step")
    if survey.outlined is not None:
        _check_disk(draft, survey.outlined, schedule)
        if survey.fits and plan is not None:
            _check_memory(draft, survey, outlined=survey.outlined, schedule=schedule, plan=plan)


def _check_disk(draft: Draft, outlined: Outline, schedule: Schedule) -> None:
    config = draft.config
    need = DiskNeed(
        model=outlined.weight_bytes,
        weights=outlined.gradient_bytes if config.model.use_peft else outlined.weight_bytes,
        optimizer=outlined.optimizer_bytes(find_argument(config, "optim")),
        checkpoints=count_saves(config.training, schedule.total_steps, steps_per_epoch=schedule.plan.steps_per_epoch),
        kept_at_most=config.training.save_total_limit,
        keeps_best=keeps_best(config),
    )
    lines, problems = check_disk(need, find_room(config.output_dir), folder=config.output_dir)
    draft.lines += lines
    draft.problems += problems


def _check_memory(
    draft: Draft,
    survey: Survey,
    *,
    outlined: Outline,
    schedule: Schedule,
    plan: PerformancePlan,
) -> None:
    assert survey.evaluated is not None, "steps are known, so rows are"
    config = draft.config
    program = psutil.Process().memory_info().rss
    length, scored = survey.window_length, find_argument(config, "per_device_eval_batch_size")
    training = StepShape(
        *_find_largest(config, schedule.lengths, schedule.plan.rows_at_once, window_length=length),
        plan.precision,
        accumulates=schedule.plan.gradient_accumulation_steps > 1,
        gradient_checkpointing=find_argument(config, "gradient_checkpointing"),
        fused_loss=bool(plan.fused_loss),
    )
    evaluation = StepShape(*_find_largest(config, survey.evaluated, scored, window_length=length), plan.precision)
    peaks = _trace(draft, survey, outlined=outlined, training=training, evaluation=evaluation)
    if peaks is None:
        return
    need = MemoryNeed(
        program=program,
        weights=outlined.weight_bytes,
        gradients=outlined.gradient_bytes,
        optimizer=outlined.optimizer_bytes(find_argument(config, "optim")),
        training=peaks[0],
        evaluation=peaks[1],
        processes=schedule.plan.world_size,
    )
    shape = f"{training.rows:,} x {training.tokens:,} tokens"
    available = find_available_memory(outlined.device)
    batch_key = "per_device_train_batch_size" if config.training.max_tokens_per_batch is None else BUDGET
    lines, problems = check_memory(need, available, device=outlined.device, shape=shape, batch_key=batch_key)
    draft.lines += lines
    draft.problems += problems


def _find_largest(config: RunConfig, lengths: np.ndarray, rows: int, *, window_length: int | None) -> tuple[int, int]:
    """Return windows and tokens a window of the largest batch, by the budget of tokens where there is one."""
    budget = config.training.max_tokens_per_batch
    if budget is None:
        return find_largest_batch(lengths, rows, window_length=window_length)
    return find_largest_by_tokens(lengths, budget, window_length=window_length)


def _trace(
    draft: Draft, survey: Survey, *, outlined: Outline, training: StepShape, evaluation: StepShape
) -> tuple[int, int] | None:
    """Return the peaks of training and evaluation; None, and a line, for a model that cannot be traced."""
    make_batch, objective = survey.make_batch, survey.objective
    try:
        return (
            trace_training(outlined, training, make_batch=make_batch, objective=objective),
            trace_evaluation(outlined, evaluation, make_batch=make_batch, objective=objective),
        )
    except RuntimeError as error:  # kernels that need real numbers, as those of mixtures of experts do
        reason = str(error).splitlines()[0]
        draft.lines.append(f"memory of a step: not known: this model does not run without numbers ({reason})")
        return None
