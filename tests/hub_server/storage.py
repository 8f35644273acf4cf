"""What the Hub holds: repositories, their commits, and the contents of files, all in memory.

A commit is a whole listing of files, as in git; contents are kept once, small ones by their git blob id and large ones
by their SHA-256.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["model", "dataset", "space"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LARGE_SUFFIXES = (".safetensors", ".bin", ".parquet", ".arrow", ".pt", ".zst", ".gz")
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES).encode()
MAIN = "main"


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; `sha256` is set where the content is large and git holds a pointer to it."""

    size: int
    blob_id: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """What a client compares to know whether it has this content."""
        return f'"{self.sha256 or self.blob_id}"'


@dataclass(frozen=True)
class Commit:
    """A state of a repository and how it came to be."""

    id: str
    parent: str | None
    title: str
    body: str
    date: str
    files: Mapping[str, StoredFile]


@dataclass
class Repository:
    """A model, data set or space, with all its history."""

    kind: Kind
    name: str
    private: bool = False
    gated: bool = False
    created: str = ""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organization it belongs to."""
        return self.name.split("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before its name in addresses: nothing for a model."""
        return "" if self.kind == "model" else f"{self.kind}s/"

    def find(self, revision: str) -> Commit | None:
        """Return the commit of a branch, a tag or a commit id."""
        commit_id = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(commit_id)

    @property
    def head(self) -> Commit:
        """The newest commit of the main branch."""
        return self.commits[self.branches[MAIN]]

    def commit(self, branch: str, title: str, *, files: Mapping[str, StoredFile], body: str = "") -> Commit:
        """Put a commit on top of `branch`, which may be new, and return it."""
        parent = self.branches.get(branch)
        listing = sorted((path, file.blob_id) for path, file in files.items())
        # the nanosecond keeps two equal commits apart
        commit_id = sha1(json.dumps([parent, title, body, time.time_ns(), listing]).encode())
        self.commits[commit_id] = Commit(commit_id, parent, title, body, now(), dict(files))
        self.branches[branch] = commit_id
        return self.commits[commit_id]


@dataclass
class Storage:
    """All repositories and all contents; `parts` are the pieces of large files under way."""

    repositories: dict[tuple[Kind, str], Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def create(self, kind: Kind, name: str, *, private: bool) -> Repository:
        """Return a new repository with the commit the Hub begins each one with."""
        repository = Repository(kind, name, private=private, created=now())
        repository.commit(MAIN, "initial commit", files={".gitattributes": self.add_small(GIT_ATTRIBUTES)})
        self.repositories[kind, name] = repository
        return repository

    def add_small(self, content: bytes) -> StoredFile:
        """Keep a content that git holds itself."""
        file = StoredFile(len(content), blob_id(content))
        self.blobs[file.blob_id] = content
        return file

    def point_to_large(self, sha256: str) -> StoredFile:
        """Return the file whose content was uploaded before."""
        size = len(self.large[sha256])
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return StoredFile(size, blob_id(pointer.encode()), sha256)

    def read(self, file: StoredFile) -> bytes:
        """Return the content of a file."""
        return self.blobs[file.blob_id] if file.sha256 is None else self.large[file.sha256]


def sha1(content: bytes) -> str:
    """Return the SHA-1 of `content`, which git names things by."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def blob_id(content: bytes) -> str:
    """Return git's id of a file of this content."""
    return sha1(b"blob %d\0" % len(content) + content)


def now() -> str:
    """Return the time as the Hub writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
