"""What the settings name on the Hub, downloaded by one process of each machine before the others look for it.

The others then read the cache. Where the first is refused they ask too and meet the same refusal, so that none waits
for one that has left. A corpus that is streamed is not downloaded.
"""

from accelerate import PartialState
from transformers import TrainingArguments

from hfpipe.config import RunConfig
from hfpipe.config.sections import FINETUNE
from hfpipe.data.findings import Findings
from hfpipe.data.sources import find_sources, is_on_hub
from hfpipe.errors import HfpipeError
from hfpipe.models import sources as checkpoints


def download_first(config: RunConfig, args: TrainingArguments) -> None:
    """Bring model, tokenizer and data set of `config` to the cache; every process of the run calls it.

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
    model = config.model
    if checkpoints.is_on_hub(model.model_name_or_path):
        checkpoints.find_checkpoint(model, with_weights=True)
    if checkpoints.is_on_hub(model.tokenizer_name):
        checkpoints.find_checkpoint(model, key="tokenizer_name")
    if is_on_hub(config.data.dataset_name) and not config.data.streaming:
        findings = Findings()
        find_sources(config.data, findings, labelled=config.recipe == FINETUNE, cache_dir=model.cache_dir)
        findings.raise_if_any()
