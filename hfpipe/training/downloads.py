"""What the settings name on the Hub, downloaded by one process of each machine before the others look for it.

The others then read the cache. Where the first is refused they ask too and meet the same refusal, so that none waits
for one that has left. A corpus that is streamed is not downloaded.
"""

from accelerate import PartialState
from transformers import TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.mixture import read_mixture
from hfpipe.config.sections import FINETUNE, DataSettings
from hfpipe.data.commits import pin_commits
from hfpipe.data.findings import Findings
from hfpipe.data.sources import find_sources, is_on_hub
from hfpipe.errors import HfpipeError
from hfpipe.models import sources as checkpoints
from hfpipe.models.fingerprints import pin_revisions


def download_first(config: RunConfig, args: TrainingArguments) -> None:
    """Bring model, tokenizer and data sets of `config` to the cache; every process of the run calls it.

    Raises:
        ConfigError: If a checkpoint cannot be had or used.
        DataError: If a data set cannot.
    """
    is_first = args.local_process_index == 0
    refusal: HfpipeError | None = None
    if is_first:
        try:
            _download(config)
        except HfpipeError as error:
            refusal = error
    PartialState().wait_for_everyone()
    if refusal is not None:
        raise refusal
    if not is_first:
        _download(config)


def _download(config: RunConfig) -> None:
    model = pin_revisions(config)
    if checkpoints.is_on_hub(model.model_name_or_path):
        checkpoints.find_checkpoint(model, with_weights=True)
    if checkpoints.is_on_hub(model.tokenizer_name):
        checkpoints.find_checkpoint(model, key="tokenizer_name")
    findings = Findings()
    for data in _data_sets(pin_commits(config)):
        find_sources(data, findings, labelled=config.recipe == FINETUNE, cache_dir=model.cache_dir)
    findings.raise_if_any()


def _data_sets(data: DataSettings) -> list[DataSettings]:
    """Return the settings of each data set that is downloaded; a mixture may have several."""
    sources = [source.settings for source in read_mixture(data)] or [data]
    return [each for each in sources if is_on_hub(each.dataset_name) and not each.streaming]
