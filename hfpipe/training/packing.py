"""From documents to packed blocks: token ids from the store where a run has one, else made in memory.

All processes of a run map the same files, which one of them makes while the others wait. A survey has no store: it
leaves nothing behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase, TrainingArguments

from hfpipe.data.cache_places import find_cache
from hfpipe.data.corpus import pack_heldout_blocks, pack_training_blocks
from hfpipe.data.encoding_documents import DocumentEncoder, build_encoder
from hfpipe.data.parts import DocumentPart
from hfpipe.data.token_store import StreamRequest, TokenStore, TokenStream, stream_documents
from hfpipe.models.tokenizers import find_separator
from hfpipe.training.datasets import BlockRows
from hfpipe.training.main_work import work_in_main
from hfpipe.training.session import Session


@dataclass(frozen=True)
class Packer:
    """How the documents of a run become blocks; `masks_documents` keeps those of a block apart."""

    encoder: DocumentEncoder
    separator: int
    block_size: int
    masks_documents: bool = False

    def request(self, part: DocumentPart, name: str) -> StreamRequest:
        """Return what is asked of the store for the documents of a part, or of one source of it."""
        return StreamRequest(part.texts, self.encoder, self.separator, name)

    def pack(
        self, part: DocumentPart, name: str, *, is_train: bool | None = None, stream: TokenStream | None = None
    ) -> BlockRows:
        """Return documents packed into blocks, in the manner of training where that is what they are for.

        Raises:
            DataError: If training documents do not fill one block.
        """
        found = stream_documents(self.request(part, name)) if stream is None else stream
        blocks = (
            pack_training_blocks(found.ids, self.block_size, place=name)
            if (name == "train" if is_train is None else is_train)
            else pack_heldout_blocks(found.ids, self.block_size, padding_id=self.separator)
        )
        return BlockRows(blocks, found.sizes, found.starts, part.places, masks_documents=self.masks_documents)


def build_packer(tokenizer: PreTrainedTokenizerBase, *, block_size: int, masks_documents: bool = False) -> Packer:
    """Return how documents become blocks of `block_size` tokens of this tokenizer.

    Raises:
        ConfigError: If the tokenizer has no token to put between documents.
    """
    return Packer(build_encoder(tokenizer), find_separator(tokenizer), block_size, masks_documents=masks_documents)


def pack_parts(
    session: Session, packer: Packer, parts: Mapping[str, DocumentPart], *, is_train: bool | None = None
) -> dict[str, BlockRows]:
    """Return the blocks of each part by its name, as `Packer.pack` does; their token ids come from the store.

    Every process has to call it.

    Raises:
        DataError: If a training part does not fill one block.
    """
    requests = {name: packer.request(part, name) for name, part in parts.items()}
    streams = provide_streams(requests, TokenStore(find_cache(session.config.model.cache_dir)), session.args)
    return {name: packer.pack(part, name, is_train=is_train, stream=streams[name]) for name, part in parts.items()}


def provide_streams(
    requests: Mapping[str, StreamRequest], store: TokenStore, args: TrainingArguments
) -> dict[str, TokenStream]:
    """Return the token ids asked for, made by the main process where they are not there; every process calls it.

    Where machines share no cache the first process of each makes them for its own.
    """

    def provide() -> dict[str, TokenStream]:
        return {name: store.provide(request) for name, request in requests.items()}

    def provide_missing() -> dict[str, TokenStream]:
        found = {name: store.find(request) for name, request in requests.items()}
        return {name: stream or store.provide(requests[name]) for name, stream in found.items()}

    made = work_in_main(provide, args)
    if args.world_size == 1:
        assert made is not None, "a process alone does the work"
        return made
    on_this_machine = work_in_main(provide_missing if made is None else lambda: made, args, of_each_machine=True)
    return on_this_machine or provide_missing()
