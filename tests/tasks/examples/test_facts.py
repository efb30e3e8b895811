"""Facts: what rows state becomes a question and an answer in the row's own words, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.answers import claims
from tasks.examples.export import export
from tasks.examples.facts import about, asked_for, asking, called, facts, window
from tasks.examples.questions import draw
from tasks.examples.styles import ABSTAIN
from tasks.recipe.model import Exporting
from tests.kit.rows import shard

# Invented, in the shapes that real descriptions have: glued sentences, lists, several sentences of one kind, no fact.
ROWS = [
    ("Marrowgate Otter 210 Water Kettle, Copper", "Pours without a drip. At 32 ounces it is easy to carry, and it "
     "stays warm. The kettle is made of hammered copper and will not rust."),
    ("Dovelli Comet Sleeping Bag", "For cold nights.Weighs only 2.5 pounds. Comes with a stuff sack, a strap and a "
     "patch kit; a pillow is sold separately."),
    ("The Silent Orchard", "A novel by Ada Q. Brockhurst, first published in 1931. It has 412 pages and two maps."),
    ("Vossbury Trail Stroller - Slate Gray, Foldable, with Rain Cover and a Cup Holder for Long Days Out", "Perfect "
     "for parents who run. Measures 24 x 40 inches folded. Not compatible with Harrowby seats. Fits most car trunks."),
    ("Lumenford Desk Fan", "Quiet and small. A fan that you will forget about."),
]  # fmt: skip
CONTENT = dict(ROWS)


def stated(title: str) -> dict[str, str]:
    return {fact.kind: fact.value for fact in facts(CONTENT[title])}


def test_what_a_row_states_is_found_by_kind():
    assert stated("Marrowgate Otter 210 Water Kettle, Copper") == {"weight": "32 ounces", "material": "hammered copper"}
    assert stated("Dovelli Comet Sleeping Bag") == {
        "weight": "2.5 pounds",
        "contains": "a stuff sack, a strap and a patch kit",
    }
    assert stated("The Silent Orchard") == {"pages": "412 pages", "author": "Ada Q. Brockhurst", "year": "1931"}
    assert stated(ROWS[3][0]) == {"size": "24 x 40 inches", "fits": "most car trunks", "for whom": "parents who run"}
    assert stated("Lumenford Desk Fan") == {}


def test_what_it_denies_is_no_fact():
    assert facts("It is not compatible with older chargers. It does not weigh anything you would notice.") == []
    assert facts("Batteries are not included. It is not recommended for children.") == []
    assert facts("It contains no acids. The screen shows 800 x 600, the thread is 18 X 1.5.") == []  # no measures


@pytest.mark.parametrize("title", [title for title, _ in ROWS])
def test_an_answer_is_in_the_words_of_the_row_and_its_question_asks_for_its_kind(title):
    for fact in facts(CONTENT[title]):
        assert fact.sentence in CONTENT[title] and fact.claim in fact.sentence and fact.value in fact.claim
        taught = [asking(fact, called(title), seed) for seed in range(len(fact.asks))]
        for question in (*taught, about(fact.tried, called(title))):
            assert fact.kind in asked_for(question) and "{" not in question and "the The" not in question
            checked = claims.check(question, fact.answer, title, CONTENT[title])
            assert checked.holds and {c.verdict for c in checked.claims} == {"verbatim"}


def test_a_claim_is_cut_from_its_sentence_and_a_list_is_not():
    kettle, bag = facts(ROWS[0][1]), facts(ROWS[1][1])
    assert kettle[0].claim == "At 32 ounces it is easy to carry"
    assert kettle[0].answer.endswith(' "At 32 ounces it is easy to carry, and it stays warm."')
    assert bag[1].claim == "Comes with a stuff sack, a strap and a patch kit"


@pytest.mark.parametrize(
    ("question", "kind"),
    [("how much does it weigh", "weight"), ("What's in the box?", "contains"), ("who wrote it", "author"),
     ("what fabric is that", "material"), ("does it work with a Mac", "fits"), ("which age group?", "age")],
)  # fmt: skip
def test_people_ask_for_a_kind_in_other_words(question, kind):
    assert kind in asked_for(question)


def test_a_window_shows_what_is_asked_for_and_otherwise_the_beginning():
    long = "It looks good on any shelf. " * 30 + "It weighs 4 pounds. " + "It is easy to clean. " * 30
    shown = window(long, "How heavy is the Lumenford Clock?", "Lumenford Clock", 400)
    assert "It weighs 4 pounds." in shown and len(shown) <= 400 and shown.startswith("It looks good")
    assert "weighs" not in window(long, "What is the Lumenford Clock product?", "Lumenford Clock", 400)


MANY = [(f"{title} {n}", content) for n in range(8) for title, content in ROWS]


def test_an_export_asks_for_facts_cites_the_row_and_abstains_where_it_is_left_out(tmp_path):
    made = export(shard(tmp_path, MANY), Exporting(style="facts"), "openai", "train", None, str(tmp_path))
    seen = {"fact": 0, "both": 0, "none": 0, "described": 0}
    for number, text in enumerate(Path(made.uri).read_text().splitlines()):
        system, user, assistant = (turn["content"] for turn in json.loads(text)["messages"])
        listed, _, question = user.rpartition("\n\n")
        assert "in the words of their descriptions" in system and not question.endswith(".")
        if assistant == ABSTAIN:
            assert f"[U{number}]" not in listed
            seen["none"] += 1
            continue
        for line in assistant.split("\n"):
            uid, _, said = line[1:].partition("] ")
            content = MANY[int(uid[1:])][1]
            assert f"[{uid}] " in listed and claims.check(question, said, MANY[int(uid[1:])][0], content).holds
        kind = "described" if question.endswith(" product?") else "both" if "\n" in assistant else "fact"
        seen[kind] += 1
        assert (kind == "described") == MANY[number][0].startswith("Lumenford")
    assert all(seen.values()), seen


def test_questions_for_facts_have_the_prompt_and_the_answer_of_their_example(tmp_path):
    clean = shard(tmp_path, MANY)
    made = export(clean, Exporting(style="facts"), "gemini", "train", None, str(tmp_path))
    texts = Path(made.uri).read_text().splitlines()
    for question in draw([made], [clean], 40, seed=3):
        taught = json.loads(texts[question.line - 1])["contents"]
        assert question.messages[-1].content == taught[0]["parts"][0]["text"]
        assert question.content == taught[-1]["parts"][0]["text"]
