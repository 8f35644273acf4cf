"""The rules of the house: who may import whom, sizes, names, docstrings, versions, and texts that hold true."""

import ast
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import hfpipe

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hfpipe"
MODULES = sorted(PACKAGE.rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCH = sorted((ROOT / "bench").rglob("*.py"))

# A module imports from lower levels and from its own package; two packages of one level do not know each other.
_UPWARDS = (
    "secrecy, errors, pickles, config records, repositories, data models, inspection, inference, evaluation, report, "
    "hub, training, supervision, launch, studies, cli_options, "
    "cli_cache cli_inspect cli_profile cli_repeat cli_report, cli"
)
LEVELS = tuple(set(names.split()) for names in _UPWARDS.split(", "))
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}

# Answers in a fraction of a second need modules that import none of these.
SLOW = {"torch", "transformers", "datasets", "numpy", "pyarrow", "sklearn", "pandas", "accelerate", "evaluate"}
CLI = ("cli", "cli_cache", "cli_inspect", "cli_options", "cli_profile", "cli_repeat", "cli_report")
FAST = {"errors", "pickles", "secrecy", "config", "records", "supervision", "launch", "studies", *CLI}

FORBIDDEN_NAMES = {"utils", "util", "common", "base", "manager", "helpers", "helper", "misc"}
MAX_LINES = 300
MAX_RUN_LINES = 40


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    """Return the part of hfpipe a file belongs to: `config`, `launch`; '' for hfpipe/__init__.py."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imported(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """Yield the full names of the modules that import statements among `nodes` name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            # `from hfpipe.data import parts` names a module below the one it is from
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_at_load(path: Path) -> Iterator[str]:
    """Yield what importing a module imports: statements outside functions, TYPE_CHECKING blocks left out."""
    waiting: list[ast.stmt] = list(parse(path).body)
    while waiting:
        node = waiting.pop()
        yield from imported([node])
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def packages_imported_by(path: Path) -> set[str]:
    """Return the other parts of hfpipe that a module imports anywhere, in functions too."""
    names = [name.split(".") for name in imported(ast.walk(parse(path))) if name.startswith("hfpipe.")]
    return {name[1] for name in names} & LEVEL_OF.keys() - {package_of(path)}


def test_every_part_has_a_level() -> None:
    assert {package_of(path) for path in MODULES} - {""} == LEVEL_OF.keys()


@pytest.mark.parametrize("package", sorted(LEVEL_OF))
def test_imports_go_down(package: str) -> None:
    files = [path for path in MODULES if package_of(path) == package]
    assert files
    upward = [
        f"{place_of(path)} imports {other}"
        for path in files
        for other in packages_imported_by(path)
        if LEVEL_OF[other] >= LEVEL_OF[package]
    ]
    assert upward == []


def test_modules_import_each_other_in_no_circle() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = {}
    for name, path in names.items():
        # `from hfpipe.config import RunConfig` names something inside a module: the longest known prefix is the module
        found = (
            next((known for known in (full, full.rpartition(".")[0]) if known in names), None)
            for full in imported_at_load(path)
        )
        graph[name] = {other for other in found if other is not None and other != name}
    assert len(list(TopologicalSorter(graph).static_order())) == len(names)


@pytest.mark.parametrize("package", sorted(FAST))
def test_fast_parts_load_nothing_slow(package: str) -> None:
    found = [
        f"{place_of(path)} imports {name}"
        for path in MODULES
        if package_of(path) == package
        for name in imported_at_load(path)
        if name.split(".")[0] in SLOW
    ]
    assert found == []


def test_nothing_slow_comes_from_fast_parts_by_way_of_others() -> None:
    allowed = {"hfpipe", *(f"hfpipe.{name}" for name in FAST)}
    found = [
        f"{place_of(path)} imports {name}"
        for path in MODULES
        if package_of(path) in FAST
        for name in imported_at_load(path)
        if name.startswith("hfpipe.") and ".".join(name.split(".")[:2]) not in allowed
    ]
    assert [place for place in found if not place.endswith("hfpipe.__version__")] == []


def test_hfpipe_never_imports_recipes() -> None:
    roots = {name.split(".")[0] for path in MODULES for name in imported(ast.walk(parse(path)))}
    assert not roots & {"recipes", "tests", "bench", *(path.stem for path in RECIPES)}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_one_short_procedure(path: Path) -> None:
    assert {name.rpartition(".")[0] for name in imported_at_load(path)} <= {"hfpipe.config", "hfpipe.config.entry"}
    functions = [node for node in parse(path).body if isinstance(node, ast.FunctionDef)]
    (run,) = functions
    assert run.name == "run" and run.end_lineno is not None
    assert run.end_lineno - run.lineno + 1 <= MAX_RUN_LINES
    branches = [node for node in ast.walk(run) if isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.With)]
    inner = [child for node in branches for child in ast.walk(node) if child in branches and child is not node]
    assert inner == []


def test_files_are_short_and_named_for_what_they_do() -> None:
    files = [*MODULES, *RECIPES, *TESTS, *BENCH]
    lines = {place_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {place: count for place, count in lines.items() if count > MAX_LINES} == {}
    words = {place_of(path): set(path.stem.split("_")) | set(path.parent.name.split("_")) for path in files}
    assert {place for place, parts in words.items() if parts & FORBIDDEN_NAMES} == set()


def public_definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the public functions, classes and methods of a module or class body."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body)


def test_every_module_and_public_function_is_described() -> None:
    missing = []
    for path in [*MODULES, *RECIPES]:
        tree = parse(path)
        missing += [place_of(path)] if ast.get_docstring(tree) is None else []
        for node in public_definitions(tree.body):
            missing += [] if ast.get_docstring(node) else [f"{place_of(path)}:{node.lineno}: {node.name}"]
    assert missing == []


def test_only_the_command_line_prints() -> None:
    allowed = {*(PACKAGE / f"{name}.py" for name in CLI), PACKAGE / "config" / "entry.py"}
    found = [
        f"{place_of(path)}:{node.lineno}"
        for path in [*MODULES, *RECIPES]
        if path not in allowed
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        # writing to a file that the user named is not printing
        if not any(keyword.arg == "file" and ast.unparse(keyword.value) == "file" for keyword in node.keywords)
    ]
    assert found == []


def test_no_error_is_caught_unseen() -> None:
    broad = {"Exception", "BaseException"}
    found = []
    for path in [*MODULES, *RECIPES, *TESTS, *BENCH]:
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else broad
            # cleaning up and raising again hides nothing
            raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if caught & broad and not raises_again:
                found.append(f"{place_of(path)}:{node.lineno}")
    assert found == []


def project_section(name: str) -> str:
    """Return a table of pyproject.toml as text: Python 3.10 has no reader of TOML."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    listed = project_section("project").partition("dependencies = [")[2]
    required = re.findall(r'"([A-Za-z0-9_.-]+)[^"]*"', listed + project_section("project.optional-dependencies"))
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    assert len(required) > 15
    assert {canonical(name) for name in required} - {canonical(name) for name, _ in pins} == set()


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == hfpipe.__version__
    assert 'version = { attr = "hfpipe.__version__" }' in project_section("tool.setuptools.dynamic")


def repository_files() -> list[Path]:
    """Return the files of the repository: those that .gitignore does not name."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    ignored.append(".git")
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder) / name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]
    return sorted(found)


def test_texts_name_no_machine_and_no_registry() -> None:
    # written in pieces, so that this file does not name them either
    forbidden = ("/" + "work/", "/" + "root/", "/" + "home/", "pypi" + ".org", "python" + "hosted", "index" + "-url")
    found = [
        f"{place_of(path)}: {word}"
        for path in repository_files()
        for word in forbidden
        if path.suffix != ".png" and word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def headings_of(path: Path) -> set[str]:
    """Return the anchors of a Markdown file as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_documents_lead_somewhere() -> None:
    documents = [path for path in repository_files() if path.suffix == ".md"]
    assert ROOT / "README.md" in documents
    broken = []
    for path in documents:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if "://" in target:
                continue
            if not file.exists() or (anchor and anchor not in headings_of(file)):
                broken.append(f"{place_of(path)}: {target}")
    assert broken == []


def test_documents_name_files_that_exist() -> None:
    names = re.compile(r"`((?:hfpipe|recipes|accelerate_configs|docs|tests|bench)/[\w/.-]+\.(?:py|yaml|md))`")
    missing = [
        f"{place_of(path)}: {name}"
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for name in names.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_ci_does_what_make_check_does() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.rstrip().endswith("make check")
    assert all(yaml.safe_load(path.read_text()) for path in sorted((ROOT / "accelerate_configs").glob("*.yaml")))
