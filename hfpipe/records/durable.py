"""Files that are on the disk when a function returns, whole, under the name they are to have.

Renaming decides when a file or folder counts; a power cut may lose a name that was not synced, so the folder is synced
after it. Some file systems cannot rename folders at once (overlays, objects behind a mount): there files are moved one
by one, and the one that makes the folder count goes last.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hfpipe.records.disk import write_failure

# What file systems answer that have no notion of it: nothing can be done, and nothing is wrong.
_CANNOT_SYNC_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EISDIR}
_CANNOT_RENAME_FOLDERS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM, errno.ENOSYS, errno.EINVAL}
_PARTIAL = ".partial"


def sync_file(path: Path) -> None:
    """Return when the content of `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on the disk, where the file system can tell."""
    try:
        sync_file(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:
            raise


def write_whole(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write `content` to `path`; a reader, or a crash at any moment, meets the old file or the new one.

    A file that is not `durable` may be lost in a power cut: for folders whose files are synced together later on.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk; the old file is as it was.
    """
    written = content.encode() if isinstance(content, str) else content
    try:
        _replace(path, written, durable=durable)
    except OSError as error:
        raise write_failure(path, error, needed=len(written)) from error


def move_folder(source: Path, target: Path, *, last: str) -> None:
    """Give the folder `source` the name `target`, which must be free or hold what an earlier, unfinished move left.

    At once where the file system can, else file by file, the one named `last` after all others.
    """
    try:
        source.rename(target)
    except OSError as error:
        # a target that is there is one that files were moved into already
        if error.errno not in _CANNOT_RENAME_FOLDERS | {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        _move_files(source, target, last=last)
    sync_folder(target.parent)


def publish_files(source: Path, target: Path) -> None:
    """Move the files of `source`, once they are on the disk, into `target`, each whole or not at all.

    What `target` has beside them stays; `source` is gone afterwards.
    """
    names = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    for name in names:
        sync_file(source / name)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(target / name)
    for folder in {(target / name).parent for name in names} | {target}:
        sync_folder(folder)
    shutil.rmtree(source)


def remove_folder(folder: Path) -> None:
    """Remove `folder` and what is in it; nothing happens where it is not there, and of a link nothing else goes."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def clean_partial_files(folder: Path) -> None:
    """Remove what a kill left of files that were being written into `folder`."""
    for path in folder.glob(f".*{_PARTIAL}"):
        path.unlink()


def _move_files(source: Path, target: Path, *, last: str) -> None:
    target.mkdir(exist_ok=True)
    (target / last).unlink(missing_ok=True)
    names = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda name: name.as_posix() == last):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name.as_posix() == last:
            sync_folder(target)
        (source / name).replace(target / name)
    sync_folder(target)
    shutil.rmtree(source)


def _replace(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                # without it a power cut after the rename can leave an empty file
                os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def _umask() -> int:
    # the mask can only be read by setting it; mkstemp makes files private, and a record is not a secret
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
