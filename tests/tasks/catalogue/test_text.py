"""Text: nothing is left of entities, tags and control characters, and cleaning twice is cleaning once."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue import text
from tasks.recipe.model import Cleaning

ALL = Cleaning()
SWITCHES = (
    "unescape", "entity_stumps", "mojibake", "lost_characters", "strip_tags", "controls", "whitespace", "paragraphs",
    "normalise",
)  # fmt: skip
PIECES = (
    "& amp; &amp; &amp;amp; &#38; &#x26;#x26; lt; &lt; &lt;b&gt; &gt; #60; &#60 &nbsp; &nbsp &#160; &#xA0; &#151; "
    "&#x92; &#x80; &#150 &#0; &#xD800; &#x110000; &#99999999999; &eacute; &copy &notit; &nosuch; &quot; &NewLine; "
    "&Tab; < > <b> </b> <br/> <p class='x'> <a href=\"y\"> <!-- x --> <script>x</script> <b&gt; &lt;/b> <<b>b> <b< b>> "
    "<i&#62; b> </ br \x00 \x1b \x7f \x80 \x92 \x9f \u00ad \u200b \ufeff \u2028 \u00a0 \u3000 e\u0301 \u0301 \ufb01 "
    "\u212b n ~ ; # x &#xC3;&#xA9; &#xE2;&#x80;&#x99; \u00c3\u00a9 \u00e2\u201e\u00a2 \u00c3 \u00a9 \u00e2 \u20ac "
    "\u2122 x2019; quot; 20 19; x #8217; amp;lt; a\u0303 &#xD83D; &#xDE00; &#55357;&#56832; \ufffd <p> <li> <br> <ul> "
    "</p> <td> <script <![CDATA[ ]]> --> <a href='x&copy=2 &copy=2 <sup> <div title='<b>'> x2019\u200b;"
).split(" ")
DIRTY = st.lists(st.sampled_from([*PIECES, " ", "\t", "\n", "\x85"]) | st.text(max_size=4), max_size=12).map("".join)
PARAMETER = re.compile(r"&+(?=[A-Za-z]+[0-9]*[A-Za-z=])")  # of an address: `&copy=2` is no sign
TAG = re.compile(r"</?(?:b|i|br|p|a|script)(?:\s+\w+=(?:'[^'<>]*'|\"[^\"<>]*\"))?\s*/?>|<!--.*-->", re.IGNORECASE)
CODE = re.compile(r"(?<=[^\W_])<[abi]>(?=[^\W_])", re.IGNORECASE)  # `a<b>c`


@given(DIRTY)
def test_nothing_is_left(dirty):
    clean = text.clean(dirty, ALL)
    assert html.unescape(PARAMETER.sub("", clean)) == PARAMETER.sub("", clean)
    assert "\ufffd" not in clean
    assert not TAG.search(CODE.sub("", clean))
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Zl", "Zp")]
    assert not re.search(r"[\u00ad\u200b\u2060\ufeff\u202a-\u202e]", clean)
    assert clean == " ".join(clean.split())
    assert unicodedata.is_normalized("NFC", clean)


@given(DIRTY, st.sets(st.sampled_from(SWITCHES)))
def test_cleaning_twice_is_cleaning_once_whatever_rules_are_on(dirty, off):
    rules = Cleaning.model_validate(dict.fromkeys(off, False))
    for lines in (False, True):
        clean = text.clean(dirty, rules, lines)
        assert text.clean(clean, rules, lines) == clean
        assert clean == clean.strip()


@given(st.lists(DIRTY | st.text(), max_size=6))
def test_what_is_no_suspect_is_clean_already(texts):
    suspects = set(text.suspects(texts))
    assert [text.clean(t, ALL) for n, t in enumerate(texts) if n not in suspects] == [
        t for n, t in enumerate(texts) if n not in suspects
    ]
    assert suspects <= set(range(len(texts)))


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 6, 7, 1 << 17])
def test_most_texts_are_no_suspects_wherever_pieces_meet(monkeypatch, piece):
    monkeypatch.setattr(text, "PIECE", piece)
    plain = ["a plain title", "", "x", "two words", "end."]
    dirty = ["two  spaces", " ahead", "behind ", "an &amp; here", "caf\u00e9", "a\x7fb", "<", "a\tb"]
    assert text.suspects([*plain, *dirty, *plain]) == list(range(5, 13))
    assert text.suspects([*plain, "a\0b"]) == list(range(6))  # a NUL inside: nothing can be told
    assert text.suspects([]) == []


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Tom &#38; Jerry", "Tom & Jerry"),
        ("Tom &#x26; Jerry", "Tom & Jerry"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("Tom &#38;amp;#38; Jerry", "Tom & Jerry"),
        ("Tom &" + 30 * "amp;" + " Jerry", "Tom & Jerry"),
        ("17&quot; x 12&quot;", '17" x 12"'),
        ("it&#8217;s it&#x2019;s it&rsquo;s it&#146;s it&#x92;s", "it\u2019s it\u2019s it\u2019s it\u2019s it\u2019s"),
        ("it\x92s \x93so\x94", "it\u2019s \u201cso\u201d"),
        ("a&#151;b&#x97;c&mdash;d", "a\u2014b\u2014c\u2014d"),
        ("&#128;5 &#x80;5", "\u20ac5 \u20ac5"),
        ("caf&eacute; caf&#233; caf&#xE9; cafe\u0301", "caf\u00e9 caf\u00e9 caf\u00e9 caf\u00e9"),
        ("&copy 2001 &reg;", "\u00a9 2001 \u00ae"),
        ("AT&T, R&D and B&B; Q&A", "AT&T, R&D and B&B; Q&A"),
        ("Collins&#160;UK&nbsp;is", "Collins UK is"),
        ("&nbsp;", ""),
        ("&#160; &nbsp; \u200b", ""),
        ("<p>One<br>two<br />three</p>", "One two three"),
        ("&lt;p&gt;One&lt;/p&gt;", "One"),
        ("<a href='x>y'>link</a>", "link"),
        ("<script>var a = 1;</script>Words", "Words"),
        ("<style type='text/css'>p {}</style>Words<!-- note -->", "Words"),
        ("a < b and c > d, i<5 and j>2, <3", "a < b and c > d, i<5 and j>2, <3"),
        ("<Your Name> is printed", "<Your Name> is printed"),
        ("one\ttwo\r\nthree\x0bfour\x00five", "one two three four five"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "zerowidth softhyphen mark"),
        ("\u2028line\u2029paragraph\u3000wide", "line paragraph wide"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f466 family", "\U0001f468\u200d\U0001f469\u200d\U0001f466 family"),
        ("\u212bngstrom", "\u00c5ngstrom"),
        ("I love you </3", "I love you </3"),
        ("Oak </stro", "Oak"),
    ],
)
def test_known_dirt(dirty, clean):
    assert text.clean(dirty, ALL) == clean


@pytest.mark.parametrize(
    ("dirty", "clean", "seen"),
    [
        # UTF-8 whose bytes became entities, and UTF-8 read as Windows-1252 (two of ftfy's own examples).
        ("Cr&#xC3;&#xA8;me br&#195;&#187;l&#xC3;&#xA9;e", "Cr\u00e8me br\u00fbl\u00e9e", {"mojibake"}),
        ("the chef&#xE2;&#x80;&#x99;s knife&#xC2;&#x92;s edge", "the chef\u2019s knife\u2019s edge", {"mojibake"}),
        ("The Mona Lisa doesn\u00c3\u0192\u00c2\u00a2\u00c3\u00a2\u00e2\u20ac\u0161\u00c2\u00ac"
         "\u00c3\u00a2\u00e2\u20ac\u017e\u00c2\u00a2t have eyebrows.",
         "The Mona Lisa doesn\u2019t have eyebrows.", {"mojibake"}),
        ("l\u2019humanit\u00c3\u00a9", "l\u2019humanit\u00e9", {"mojibake"}),
        ("Steel\u00e2\u201e\u00a2 pan", "Steel\u2122 pan", {"mojibake"}),
        ("S\u00c3O PAULO, \u00c5ngstr\u00f6m \u201cna\u00efve\u201d \u2014 caf\u00e9\u2019s", None, set()),
        # Entities that lost their `&`.
        ("a baker x2019;s 12quot; tray, R amp;D x2014; don8217;t",
         'a baker\u2019s 12" tray, R &D \u2014 don\u2019t', {"entity_stumps"}),
        ("bath amp; kitchen, caf eacute; ole, na#xEF;ve",
         "bath & kitchen, caf \u00e9 ole, na\u00efve", {"entity_stumps"}),
        ("this little amp; is loud, a 20 amp; fuse, tube amp; bass", None, set()),
        ("boxc3; Xboxe9; faxf1; wide boxe1;", None, set()),
        ("cafxe9; jalapexf1;o sexf1;or", "caf\u00e9 jalape\u00f1o se\u00f1or", {"entity_stumps"}),
        ("boxed; caring; hard copy; MT-900 GT; for Windows x86; model x2400; 4x2019; acute;", None, set()),
        # Inline tags leave nothing; what a browser does not show is gone; text is no tag.
        ("Area 3 m<sup>2</sup>, CO<sub>2</sub>, size <b>X</b>L, <i>very</i><span> soft</span>",
         "Area 3 m2, CO2, size XL, very soft", set()),
        ("<script>if (i<3 && j>4) {go('<p>')}</script>Lamp<img alt=\"a > b\" src='x'>shade", "Lamp shade", set()),
        ("<![CDATA[<p>Oak</p>]]> table <!--[if gte mso 9]><xml>9<x/></xml><![endif]-->top", "Oak table top", set()),
        ("A chair of oak <a href=\"http://shop.example/ch", "A chair of oak", set()),
        ("A chair of oak</di", "A chair of oak", set()),
        ("1 <b and c> 2 <Your Name> <3", None, set()),
        ("if a<b>c or x<i>y; vector<data> of Map<time>; press <select>, <input> or <title>", None, set()),
        ("size <b>XL, m<sup>2, a<br>b <li>c<p>d <b>e<b>f</b>", "size XL, m2, a b c d ef", set()),
        ("see http://shop.example/?a=1&region=EU&copy=2&para1=x, &copy 2001, AT&ampT",
         "see http://shop.example/?a=1&region=EU&copy=2&para1=x, \u00a9 2001, AT&T", set()),
        ("Smile &#xD83D;&#xDE00; &#55357;&#56832;", "Smile \U0001f600 \U0001f600", set()),
        ("half &#xD83D; a caf\ufffd", "half a caf", {"lost_characters"}),
    ],
)  # fmt: skip
def test_damage_is_mended_and_named(dirty, clean, seen):
    found: set[str] = set()
    assert text.clean(dirty, ALL, seen=found) == (dirty if clean is None else clean)
    assert found == seen


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Two parts.\r\n\r\n\r\n- a  lid \r\n- a pot\u2028end", "Two parts.\n\n- a lid\n- a pot\nend"),
        ("<p>One\nline</p><p>Two</p><ul>\n <li>a</li>\n <li>b</li>\n</ul>End<br>it<br><br>now",
         "One line\n\nTwo\n\na\nb\nEnd\nit\n\nnow"),
        ("&lt;p&gt;One&lt;/p&gt;&lt;p&gt;Two", "One\n\nTwo"),
        ("A <b>bold</b>\nline", "A bold\nline"),
    ],
)  # fmt: skip
def test_a_content_keeps_its_lines_and_a_title_has_one(dirty, clean):
    assert text.clean(dirty, ALL, lines=True) == clean
    assert text.clean(dirty, Cleaning(paragraphs=False), lines=True) == " ".join(clean.split())
    assert text.clean(dirty, ALL) == " ".join(clean.split())


@pytest.mark.parametrize(
    ("rule", "dirty", "kept"),
    [
        ("unescape", "Tom &amp; Jerry\x92s", "Tom &amp; Jerry s"),
        ("strip_tags", "<b>bold</b>", "<b>bold</b>"),
        ("controls", "a\u200bb\x1bc", "a\u200bb\x1bc"),
        ("whitespace", " a  b\u00a0", "a  b"),
        ("normalise", "cafe\u0301", "cafe\u0301"),
    ],
)
def test_each_rule_can_be_switched_off(rule, dirty, kept):
    assert text.clean(dirty, ALL) != kept
    assert text.clean(dirty, Cleaning.model_validate({rule: False})) == kept


@pytest.mark.parametrize(
    "piece", ["&", "&amp", "&amp;", "&#38;", "<", "<b ", "<b x=", "<script>", "<!--", "< ", "\x00", "&lt;b&gt;", "--T"]
)
def test_text_made_to_be_slow_is_cleaned_all_the_same(piece):
    clean = text.clean(piece * (200_000 // len(piece)), ALL)
    assert text.clean(clean, ALL) == clean


TAIL = "--This text refers to thePaperbackedition."


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (f"A book.{TAIL}", "A book."),
        ("A book. --This text refers to an out of print or unavailable edition of this title.", "A book."),
        ("A book. This text refers to the Audio CD edition", "A book."),
        ("A book.Copyright 1998 Reed Business Information, Inc.", "A book."),
        ("A book. Copyright (c) Reed Business Information, a division of Reed. All rights reserved.", "A book."),
        ("A book. Copyright \u00a9 American Library Association. All rights reserved", "A book."),
        (f"A book. Copyright 2001 Library Journal{TAIL}", "A book."),
        (TAIL, ""),
        ("a book.--this text refers to thepaperbackedition", "a book."),
        ("A book.--This text refers to an out of print or una...", "A book."),
        ("A book. --This te...", "A book."),
        ("A book.Copyright 1989 Reed Busin\u2026", "A book."),
        ("A tool. Copyright \u00a9 2009-2011 Acme Tool Co. All rights reserved.", "A tool."),
        ("A book on the copyright of 1989 Reed organs...", None),
        ("A great boo...", None),
        ("And then he came--this...", None),
        ("A tale of rage--this te...", "A tale of rage"),
        ("He found the scroll--this text refers to ancient rites...", None),
        ("He found a note. This text refers to a Hardcover edition of 1902...", "He found a note."),
        ("This text refers to the Mass Market Pape...", ""),
        ("All that you need to know of copyright book...", None),
        ("All that you need to know of copyright school...", None),
        ("A book on copyright and how to get all rights reserved.", None),
        ("A guide to copyright, and why no company of ours has all rights reserved.", None),
        ("This text refers to the first edition of 1902, which differs. It is a good edition.", None),
        ("All about Copyright law, now in its third edition.", None),
        ("A book.", None),
        ("", None),
    ],
)  # fmt: skip
def test_boilerplate_at_the_end_is_cut(content, rest):
    assert text.cut_tails(content) == (content if rest is None else rest)


@given(
    st.lists(st.sampled_from([TAIL, "Copyright 1998 Reed Business Information, Inc.", "Words. ", " - "])).map("".join)
)
def test_cutting_twice_is_cutting_once(content):
    rest = text.cut_tails(content)
    assert content.startswith(rest)
    assert text.cut_tails(rest) == rest


@pytest.mark.parametrize(
    ("content", "is_boilerplate"),
    [
        ("Book by", True),
        ("Text: English, French (translation)", True),
        ("Library of Liberal Arts title.", True),
        ("No description available.", True),
        ("Product Description", True),
        ("See picture", True),
        ("N/A", True),
        ("Click here for more", True),
        ("Text: English (translation)Original Language: Dutch", True),
        ("By Ann Ode, Illustrated by Bo van Ek", True),
        ("by ann ode, illustrated by bo ek", True),
        ("Edited by A. B. Ode; with a foreword by Bo Ek", True),
        ("By A. B. Ode", True),
        ("By hand and by heart: an illustrated guide", False),
        ("by the sea, where the sand is white", False),
        ("Book by a lake, for reading in the rain.", False),
        ("See through curtain", False),
        ("Description of a town.", False),
        ("", False),
        ("Language: beautiful prose poems", False),
        ("Language: English garden words and their roots", False),
        ("Text: large print, thick paper", False),
        ("Languages: English, Spanish, Portugese", True),
        ("text: english, french (translation)", True),
        ("By Popular Demand Since Nineteen Ten", False),
        ("By J. G. Merle", True),
        ("Designed By Women For Women", False),
        ("Read By Millions Around The World", False),
        ("Edited by Lucy Mickel", True),
        ("by the fire, read by the family", False),
        ("By hand, designed by artists and read by many", False),
    ],
)
def test_what_says_nothing_is_known(content, is_boilerplate):
    assert text.is_boilerplate(content) is is_boilerplate


@pytest.mark.parametrize(
    ("content", "is_junk"),
    [
        ("test item not to bid " * 20, True),
        ("Test", True),
        ("this is just a test", True),
        ("Do not buy this", True),
        ("Lorem ipsum dolor sit amet", True),
        ("asdfghjkl", True),
        ("...---...", True),
        ("!!!", True),
        ("Buy now! " * 8, True),
        ("Test drive a car with your children.", False),
        ("Testing the limits", False),
        ("Do not disturb: a door sign", False),
        ("Bora Bora Bora", False),
        ("A really good pan for you. " * 3, False),
        ("This is it", False),
        ("Test only the best: twelve strips for pool water.", False),
        ("Test not your patience but your wits with this quiz.", False),
        ("A test, please, of all that you know of the stars.", False),
        ("Test item only, please ignore", True),
        ("This is a test listing. Do not bid!", True),
        ("Test, do not buy", True),
        ("Do not buy another vacuum before you have seen this one!", False),
        ("Please do not order this item.", True),
        ("Lorem ipsum: how printers fill a page", False),
        ("qwertyuiop", True),
        ("\u00bfQu\u00e9?", False),
    ],
)
def test_junk_is_known(content, is_junk):
    assert text.is_junk(content) is is_junk


@pytest.mark.parametrize(
    ("title", "is_junk"),
    [
        ("Test", False),
        ("Test, Please", False),
        ("Do Not Buy This Book", False),
        ("Lorem Ipsum", False),
        ("Asdfmovie", False),
        ("Qwerty", False),
        ("Wild Wild Wild Wild Wild", False),
        ("Test Product Design", False),
        ("Test item - do not bid", True),
        ("this is a test listing", True),
        ("???", True),
    ],
)
def test_a_title_is_junk_only_where_it_can_be_no_name(title, is_junk):
    assert text.is_junk_title(title) is is_junk
