"""Personal data in texts, by kind; what is shown of them is masked."""

from collections.abc import Iterator, Mapping

from tqdm.auto import tqdm

from hfpipe.data.personal import CARD, EMAIL, IBAN, IP, KINDS, PHONE, SSN, find_personal
from hfpipe.data.progress import progress_options
from hfpipe.inspection.excerpts import mask_value
from hfpipe.inspection.inspected import Inspected
from hfpipe.inspection.record import LOOK, SERIOUS, Finding, FoundRow
from hfpipe.inspection.reporting import ALL_PARTS, plural

_TITLES: Mapping[str, str] = {
    EMAIL: "e-mail addresses",
    PHONE: "phone numbers",
    CARD: "numbers of payment cards",
    SSN: "social security numbers (US)",
    IBAN: "account numbers (IBAN)",
    IP: "IP addresses",
}
_SEVERITIES: Mapping[str, str] = {CARD: SERIOUS, SSN: SERIOUS, IBAN: SERIOUS}
_REMEDY = (
    "cleaning_steps: [mask_personal] puts a placeholder for each; a language model may recite what it was trained on"
)
_DETAIL = "by patterns{checked}; names and addresses of people are not looked for"
_CHECKED: Mapping[str, str] = {CARD: " and the Luhn check digit", IBAN: " and the check digits of ISO 13616"}


def find_personal_data(inspected: Inspected) -> Iterator[Finding]:
    """Yield the rows with personal data, a finding a kind."""
    rows: dict[str, list[FoundRow]] = {kind: [] for kind in KINDS}
    totals = dict.fromkeys(KINDS, 0)
    with tqdm(total=inspected.row_count, desc="personal data", unit="text", **progress_options()) as bar:
        for part in inspected.parts:
            for row, text in enumerate(part.whole_texts):
                bar.update()
                for kind, masked in _list_masked(text).items():
                    totals[kind] += len(masked)
                    more = f" and {len(masked) - 1:,} more" if len(masked) > 1 else ""
                    # no excerpt: the value may stand in it in a form that no pattern knows
                    rows[kind].append(FoundRow(part.places.place(row), f"{masked[0]}{more}", ""))
    for kind, found in rows.items():
        if found:
            detail = f"{plural(totals[kind], 'place')}, " + _DETAIL.format(checked=_CHECKED.get(kind, ""))
            severity, title = _SEVERITIES.get(kind, LOOK), _TITLES[kind]
            of = inspected.row_count
            yield Finding(f"personal_{kind}", severity, ALL_PARTS, title, len(found), of, detail, _REMEDY, tuple(found))


def _list_masked(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for span in find_personal(text):
        found.setdefault(span.kind, []).append(mask_value(text[span.start : span.end]))
    return found
