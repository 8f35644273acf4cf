"""Nothing of hfpipe reads or writes pickle: reading one runs whatever code is in it."""

import ast

from test_house import BENCH, MODULES, RECIPES, imported, parse, place_of


def test_nothing_reads_or_writes_pickle() -> None:
    calls = {"torch.load", "torch.save", "np.load", "numpy.load", "joblib.load", "joblib.dump"}
    objects = {"gather_object", "all_gather_object", "scatter_object_list", "broadcast_object_list"}
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for path in [*MODULES, *RECIPES, *BENCH]:
        nodes = list(ast.walk(parse(path)))
        named = [node for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) in calls]
        allowed = [node.func for node in nodes if isinstance(node, ast.Call) and _reads_arrays_only(node)]
        found += [f"{place_of(path)}:{node.lineno}: {ast.unparse(node)}" for node in named if node not in allowed]
        # both would take the names out of sight
        found += [f"{place_of(path)}: {name}" for name in imported(iter(nodes)) if name.split(".")[0] in modules]
        found += [f"{place_of(path)}: {name}" for name in imported(iter(nodes)) if name in calls]
        # what processes tell each other is JSON: hfpipe/training/exchange.py
        words = [*imported(iter(nodes)), *(node.attr for node in nodes if isinstance(node, ast.Attribute))]
        ours = path not in BENCH
        found += [f"{place_of(path)}: {word}" for word in words if ours and word.rpartition(".")[2] in objects]
    assert found == []


def _reads_arrays_only(call: ast.Call) -> bool:
    """NumPy reads pickles only where it is told to."""
    return ast.unparse(call.func) in ("np.load", "numpy.load") and not any(
        keyword.arg in ("allow_pickle", None) for keyword in call.keywords
    )
