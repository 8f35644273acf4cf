"""The cleaning steps: worked examples, idempotence, and the settings that name them."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hfpipe.config import RunConfig, load_config
from hfpipe.config.cleaning_names import CLEANING_STEPS, TEXT_STEPS, find_row_step, select_text_steps
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.data.cleaning_steps import STEPS, apply_steps
from hfpipe.errors import ConfigError

SOURCES = ("dataset_name=demo:imdb", "model_name_or_path=demo:minilm")
FRAGMENTS = (
    *("&amp;", "&lt;", "lt;", "&#38;", "amp;", "&", "<b>", "<br />", "<", "b>", "<!--", "-->", "<script>", "</script>"),
    *("]]>", "<td a='>'>", "http://", "www.", "x.com", "a@b.de", " ", "\n", "\r\n", "\t", "\u200b", "\u200d", "\u200c"),
    *("\u00ad", "中", "é", "e\u0301", "İ", "Σ", "ß", "the", "can't", "'", "-", "_", "\u2019", "555-123-4567", "4"),
    *("[URL]", "[", "]", ".", ",", "!", "\x85", "\u2028", "\x1c", "\ufb01", "\uff11", "12-", "192.168.1.1", "::", "नि"),
)
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join))


def load(*words: str, recipe: str = FINETUNE) -> RunConfig:
    return load_config([*SOURCES, *words], recipe=recipe)


def problems(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*words)
    return [str(problem) for problem in caught.value.problems]


def test_every_name_is_a_step_and_every_step_has_a_name() -> None:
    assert tuple(STEPS) == TEXT_STEPS
    assert set(CLEANING_STEPS) - set(STEPS) == {"deduplicate", "deduplicate_near"}


@pytest.mark.parametrize(
    ("step", "text", "wanted"),
    [
        ("unescape_html", "Tom &amp; Jerry &quot;&#39;&eacute;&nbsp;", "Tom & Jerry \"'é\xa0"),
        ("unescape_html", "&amp;amp;lt;br&amp;gt;", "<br>"),
        ("unescape_html", "&ampamp;lt; AT&T", "< AT&T"),
        ("strip_html", "Good.<br /><br />Bad.", "Good.\n\nBad."),
        ("strip_html", 'un<b class="x>y">believ</b>able', "unbelievable"),
        ("strip_html", "<p>a</p><td>1</td><td>2</td>", "\na\n 1  2 "),
        ("strip_html", "a<!-- <b> -->b<script>if (a<b) {}</script>c<style>p{}</style>", "abc"),
        ("strip_html", "<<b>b>x", "x"),
        ("strip_html", "<b don't>x", "x"),
        ("strip_html", "x < y, I <3 you, <John> 1<2>0 <", "x < y, I <3 you, <John> 1<2>0 <"),
        ("normalize_nfc", "e\u0301\ufb01", "é\ufb01"),
        ("normalize_nfkc", "e\u0301\ufb01\uff11", "éfi1"),
        ("remove_invisible", "a\u200bb\u00adc\x00d\te\nf\r\n\ufeff\u202eg", "abcd\te\nf\r\ng"),
        ("remove_invisible", "👨\u200d👩 می\u200cبین a\u200db \u200d", "👨\u200d👩 می\u200cبین ab "),
        ("mask_urls", "See https://x.org/a?b=1#c, (www.y.com/z).", "See [URL], ([URL])."),
        ("remove_urls", "See http://x.org now: ftp://a.b/c!", "See  now: !"),
        ("mask_urls", "http:// www. imdb.com xhttp://a.b", "http:// www. imdb.com xhttp://a.b"),
        ("mask_personal", "a@b.de or 555-123-4567", "[EMAIL] or [PHONE]"),
        ("lowercase", "ÄB İ Σας", "äb i̇ σας"),
        ("remove_stop_words", "The film, it's not \"the\" best I can't say", 'film, "" best say'),
        ("remove_punctuation", "Don't—well-known [URL]: 5$ €5 नि ¿sí?", "Dont well known  URL   5  €5 नि  sí "),
        ("collapse_whitespace", " a\n\n b\t\xa0\u2003c\x85 ", "a b c"),
        ("tidy_lines", " a  b \r\n\r\n\r\n\r\n\xa0 c\t\n\nd ", "a b\n\nc\n\nd"),
    ],
)
def test_a_step_does_what_its_name_says(step: str, text: str, wanted: str) -> None:
    assert STEPS[step](text) == wanted


def test_steps_are_taken_in_their_order() -> None:
    text = "I &lt;b&gt;LOVE&lt;/b&gt;   it"
    assert apply_steps(text, ("unescape_html", "strip_html", "lowercase", "collapse_whitespace")) == "i love it"
    assert apply_steps(text, ("strip_html", "unescape_html")) == "I <b>LOVE</b>   it"
    assert apply_steps(text, ()) == text


@pytest.mark.parametrize("step", TEXT_STEPS)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
@example(text="<<b>b>&amp;amp;lt;b&gt;")
@example(text="中\u200d\u200b\u200da")
def test_a_step_taken_twice_is_taken_once(step: str, text: str) -> None:
    once = STEPS[step](text)
    assert STEPS[step](once) == once


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_what_is_said_of_the_results_holds(text: str) -> None:
    assert unicodedata.is_normalized("NFC", STEPS["normalize_nfc"](text))
    assert unicodedata.is_normalized("NFKC", STEPS["normalize_nfkc"](text))
    assert STEPS["collapse_whitespace"](text).split() == text.split()
    assert [line.split() for line in STEPS["tidy_lines"](text).splitlines() if line] == [
        line.split() for line in text.splitlines() if line.strip()
    ]
    assert not {
        character for character in STEPS["remove_punctuation"](text) if unicodedata.category(character)[0] == "P"
    }


@pytest.mark.parametrize("step", TEXT_STEPS)
def test_hostile_texts_take_no_longer_than_others(step: str) -> None:
    """Each of these made an earlier pattern, or would make a careless one, go over the text once a character."""
    for piece in (
        "<",
        "<a ",
        '<a "',
        "&amp;",
        "&#38;",
        "<!--",
        "http://",
        "www.",
        "a.",
        "1 ",
        "+49 1",
        "A1",
        "::",
        "\u200d",
    ):
        STEPS[step](piece * 5_000)


def test_steps_are_a_list_in_a_file_and_on_the_command_line() -> None:
    wanted = ("strip_html", "collapse_whitespace")
    assert load("cleaning_steps=[strip_html, collapse_whitespace]").data.cleaning_steps == wanted
    assert load("--cleaning_steps", "strip_html,collapse_whitespace").data.cleaning_steps == wanted
    assert load("cleaning_steps=strip_html").data.cleaning_steps == ("strip_html",)
    assert load().data.cleaning_steps == ()
    assert select_text_steps((*wanted, "deduplicate")) == wanted
    assert find_row_step((*wanted, "deduplicate")) == "deduplicate" and find_row_step(wanted) is None


def test_an_unknown_step_is_answered_with_the_nearest() -> None:
    (said,) = problems("cleaning_steps=strip_html,colapse_whitespace")
    assert said.startswith("cleaning_steps=strip_html,colapse_whitespace: must be one of unescape_html, strip_html, ")
    assert said.endswith("; did you mean 'collapse_whitespace'?")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[lowercase, lowercase]", "lowercase twice in a row changes nothing more; name it once"),
        (
            "[remove_punctuation, strip_html]",
            "strip_html finds nothing after remove_punctuation; put strip_html before remove_punctuation, or remove it",
        ),
        ("[mask_urls, lowercase, remove_urls]", "remove_urls finds nothing after mask_urls; keep one of them"),
        (
            "[deduplicate, lowercase]",
            "deduplicate compares rows after all steps on their texts; put deduplicate at the end",
        ),
        (
            "[deduplicate, deduplicate_near]",
            "deduplicate has no effect beside deduplicate_near, which finds what it finds; remove deduplicate",
        ),
    ],
)
def test_a_step_that_would_do_nothing_is_refused(steps: str, said: str) -> None:
    assert problems(f"cleaning_steps={steps}") == [f"cleaning_steps={steps}: {said}"]


def test_rows_of_a_stream_are_not_compared() -> None:
    stream = ("train_file=a.jsonl", "streaming=true", "max_steps=5", "max_eval_samples=2", "tokenizer_name=gpt2")
    with pytest.raises(ConfigError) as caught:
        load_config([*stream, "cleaning_steps=deduplicate"], recipe=PRETRAIN)
    assert [str(problem) for problem in caught.value.problems] == [
        "cleaning_steps=[deduplicate]: deduplicate compares all rows, and those of a stream are not known ahead; "
        "remove it, or remove streaming"
    ]
    assert load_config([*stream, "cleaning_steps=strip_html"], recipe=PRETRAIN).data.cleaning_steps == ("strip_html",)


def test_steps_for_classical_models_bring_a_warning_beside_a_pretrained_one(caplog: pytest.LogCaptureFixture) -> None:
    load("cleaning_steps=remove_stop_words")
    assert [record.message for record in caplog.records if "cleaning_steps" in record.message] == [
        "cleaning_steps: remove_stop_words is made for models that count words; a pretrained model was trained on "
        "whole sentences and usually loses by it"
    ]
