"""A page of HTML as tests read it: its tables, ids, links, drawings, and what it would fetch."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """What was found; `tables` are by id or label, each the texts of its cells row by row."""

    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    drawings: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    scopeless: int = 0
    tags: list[str] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._rows: list[list[str]] = []
        self._region = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self.open_tags.append(tag)
        self._note(tag, given)
        if tag == "table":
            self._rows = self.tables.setdefault(given.get("id") or self._region, [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append("")
            self.scopeless += tag == "th" and "scope" not in given

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._note(tag, {name: value or "" for name, value in attrs})

    def _note(self, tag: str, given: dict[str, str]) -> None:
        self.ids += [given["id"]] if "id" in given else []
        if given.get("role") == "region":
            self._region = given["aria-label"]
        if given.get("role") == "img":
            self.drawings.append(given.get("aria-label", ""))
        if tag == "svg" and given.get("aria-hidden") != "true":
            self.unlabelled.append(tag)
        for name in ("href", "src", "srcset", "action", "data", "poster", "xlink:href"):
            if name in given:
                (self.anchors if given[name].startswith("#") else self.addresses).append(given[name])

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags and self.open_tags[-1] == tag, f"</{tag}> closes {self.open_tags[-3:]}"
        self.open_tags.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open_tags:
            return
        self.text += data
        if {"td", "th"} & set(self.open_tags):
            self._rows[-1][-1] += data


def read_page(page: str) -> Page:
    """Return what is on a page; every element has to be closed in order."""
    found = Page()
    found.feed(page)
    found.close()
    assert found.open_tags == []
    return found
