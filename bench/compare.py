"""Records of variants side by side: the first one is what the others are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.figures import Spread, paired_ratio, rate, significant, spread
from bench.machine import find_makers_limit
from bench.probe import LIMITS, split_limits
from bench.report import Report, Table
from bench.turns import Record, Sample

COLUMNS = (
    "variant",
    "wall s a turn",
    "CPU s a turn",
    "{unit}/s by wall",
    "by CPU",
    "times the first by wall",
    "by CPU",
    "first turn s",
    "peak MB",
)
SHARES = ("of float32 limit: wall, CPU", "of bfloat16 limit")


@dataclass(frozen=True)
class Measured:
    """A variant in figures; shares are of the limit by wall and by processor time, None where they are not known."""

    name: str
    wall: Spread
    cpu: Spread
    per_second: float
    per_cpu_second: float
    ratio_wall: Spread
    ratio_cpu: Spread
    shares: dict[str, tuple[float, float]]
    first_turn: float
    peak_megabytes: float
    turns: int


def compare(
    title: str, records: Sequence[Record], *, unit: str, flops: float | None = None, notes: Sequence[str] = ()
) -> Report:
    """Return the report on what `take_turns` recorded.

    Args:
        title: What stands above the table.
        records: Of the variants, the plain way first, and of the limits.
        unit: What is worked on, as in 'tokens'.
        flops: Floating-point operations that a unit of work needs, None where shares of the limit have no meaning.
        notes: Sentences below the table.
    """
    variants, limits = split_limits(records)
    found = [measure(each, variants[0], limits, flops) for each in variants]
    columns = [column.format(unit=unit) for column in COLUMNS] + list(SHARES if flops is not None else ())
    table = Table(title, columns, [_cells(each) for each in found])
    told = [f"{each.name}: {_tell_facts(each)}" for each in variants if each.facts]
    limit_lines = [_tell_limit(each) for each in limits]
    makers = find_makers_limit()
    mfu = {} if flops is None or makers is None else {each.name: each.per_second * flops / makers for each in found}
    if makers is not None and mfu:
        limit_lines.append(tell_mfu(mfu, makers))
    data = {
        "title": title,
        "unit": unit,
        "flops_per_unit": flops,
        "mfu": mfu,
        "variants": [asdict(each) for each in found],
        "records": [_to_json(each) for each in records],
    }
    return Report([table], data, [*limit_lines, *told, *notes])


def measure(record: Record, first: Record, limits: Sequence[Record], flops: float | None) -> Measured:
    """Return the figures of one variant beside those of the first one."""
    samples = record.counted
    walls, cpus, work = [one.wall for one in samples], [one.cpu for one in samples], [one.work for one in samples]
    per_wall, per_cpu = rate(work, walls), rate(work, cpus)
    shares = {}
    if flops is not None:
        for limit in limits:
            limit_wall, limit_cpu = _rates(limit.counted)
            shares[limit.name] = (per_wall * flops / limit_wall, per_cpu * flops / limit_cpu)
    return Measured(
        name=record.name,
        wall=spread(walls),
        cpu=spread(cpus),
        per_second=per_wall,
        per_cpu_second=per_cpu,
        ratio_wall=paired_ratio(_a_unit(first, "wall"), _a_unit(record, "wall")),
        ratio_cpu=paired_ratio(_a_unit(first, "cpu"), _a_unit(record, "cpu")),
        shares=shares,
        first_turn=record.samples[0].wall,
        peak_megabytes=record.peak_bytes / 1e6,
        turns=len(samples),
    )


def tell_mfu(shares: Mapping[str, float], limit: float) -> str:
    """Return the line on what a GPU was used for, as shares of the maker's figure."""
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return f"MFU, of the maker's {limit / 1e12:,.0f} TFLOP/s in bfloat16: {told}"


def join(reports: Sequence[Report]) -> Report:
    """Return several comparisons as one report."""
    return Report(
        [table for report in reports for table in report.tables],
        {"comparisons": [dict(report.data) for report in reports]},
        [note for report in reports for note in report.notes],
    )


def _a_unit(record: Record, clock: str) -> list[float]:
    """Return the seconds of each turn for a unit of mean work: batches of tokens hold now more rows, now fewer."""
    mean = sum(one.work for one in record.counted) / len(record.counted)
    return [(one.wall if clock == "wall" else one.cpu) / mean for one in record.counted]


def _rates(samples: Sequence[Sample]) -> tuple[float, float]:
    work = [one.work for one in samples]
    return rate(work, [one.wall for one in samples]), rate(work, [one.cpu for one in samples])


def _cells(found: Measured) -> list[str]:
    shares = [", ".join(f"{value:.1%}" for value in found.shares[name]) for name in LIMITS if found.shares]
    return [
        found.name,
        found.wall.told(),
        found.cpu.told(),
        significant(found.per_second, 4),
        significant(found.per_cpu_second, 4),
        found.ratio_wall.told(unit="x"),
        found.ratio_cpu.told(unit="x"),
        significant(found.first_turn),
        f"{found.peak_megabytes:,.0f}",
        *shares,
    ]


def _tell_facts(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.facts.items())


def _tell_limit(record: Record) -> str:
    walls = [one.work / one.wall / 1e9 for one in record.counted]
    cpus = [one.work / one.cpu / 1e9 for one in record.counted]
    return f"{record.name}: {spread(walls).told()} GFLOP/s by wall, {spread(cpus).told()} by CPU second"


def _to_json(record: Record) -> dict[str, Any]:
    return {**asdict(record), "samples": [[one.wall, one.cpu, one.work] for one in record.samples]}
