"""Whether the disk holds what a run is about to write; asked before its first step, like `hfpipe check` asks."""

from hfpipe.errors import CheckpointError
from hfpipe.training.agreement import raise_in_all
from hfpipe.training.estimate import count_optimizer_bytes
from hfpipe.training.resources import DiskNeed, check_disk, find_room
from hfpipe.training.schedule import count_saves, find_argument, keeps_best
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer


def check_room(session: Session, trainer: PlannedTrainer) -> None:
    """Check that two checkpoints and the finished model fit; those that lie there are replaced one by one.

    Raises:
        CheckpointError: In every process, if they do not.
    """
    refusal: CheckpointError | None = None
    if session.is_main:
        folder = session.directory
        _, problems = check_disk(_find_need(session, trainer), find_room(folder), folder=folder)
        refusal = CheckpointError(problems) if problems else None
    raise_in_all(refusal, session.args)


def _find_need(session: Session, trainer: PlannedTrainer) -> DiskNeed:
    config, network, plan = session.config, trainer.network, trainer.plan
    left = plan.total_steps(session.args.num_train_epochs, session.args.max_steps) - session.from_step
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    model = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    return DiskNeed(
        model=model,
        weights=sum(parameter.nbytes for parameter in trained) if config.model.use_peft else model,
        optimizer=count_optimizer_bytes(trained, find_argument(config, "optim")),
        checkpoints=count_saves(config.training, left, steps_per_epoch=plan.steps_per_epoch),
        kept_at_most=config.training.save_total_limit,
        keeps_best=keeps_best(config),
    )
