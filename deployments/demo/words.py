"""The words that made-up products are made of. Brands, people and books here exist nowhere else."""

BRANDS = (
    "Alderwick|Bramora|Calden Ridge|Dovelli|Estermoor|Fernhollow|Glintmark|Harrowby|Ivenshire|Jollpeak|Kestrava|"
    "Lumenford|Marrowgate|Nettlebay|Orrinfield|Pellworth|Quillan|Rookmere|Saltermark|Thistledown Works|Umberlane|"
    "Vossbury|Wrenford|Yarrowdale|Zellmont"
).split("|")
LINES = "Basin|Comet|Delta|Ember|Fjord|Grove|Harbor|Juniper|Kite|Lantern|Meadow|North|Otter|Prairie|Quarry".split("|")
ADJECTIVES = (
    "Compact|Classic|Heavy Duty|Lightweight|Adjustable|Foldable|Portable|Deluxe|Everyday|Professional|Slim|Wide|"
    "Stackable|Insulated|Padded|Quiet"
).split("|")
COLOURS = (
    "black|white|navy blue|forest green|cherry red|slate gray|sand|copper|lavender|mustard yellow|teal|ivory|"
    "charcoal|sky blue|rose|olive"
).split("|")

# category: nouns | materials | uses | parts
CATEGORIES = {
    "Kitchen": (
        "Saucepan|Frying Pan|Mixing Bowl|Cutting Board|Water Kettle|Storage Jar|Baking Tray|Colander",
        "stainless steel|cast iron|borosilicate glass|bamboo|enameled steel|stoneware",
        "weeknight cooking|baking bread|making soup|serving a large family|camp cooking|storing leftovers",
        "lid|handle|rim|base|spout",
    ),
    "Home": (
        "Desk Lamp|Throw Pillow|Wall Shelf|Laundry Basket|Picture Frame|Floor Rug|Coat Rack|Window Curtain",
        "oak|woven cotton|brushed aluminum|linen|rattan|walnut veneer",
        "a small apartment|the hallway|a reading corner|the guest room|a home office|the living room",
        "frame|stitching|bracket|cover|stand",
    ),
    "Sports": (
        "Yoga Mat|Hiking Backpack|Bicycle Helmet|Sleeping Bag|Water Bottle|Tennis Racket|Camping Chair|Ski Glove Set",
        "ripstop nylon|recycled polyester|carbon fiber|natural rubber|anodized aluminum|fleece",
        "long day hikes|morning practice|weekend camping|winter training|the daily ride|travel",
        "strap|zipper|grip|lining|buckle",
    ),
    "Electronics": (
        "USB Charger|Bluetooth Speaker|HDMI Cable|Wireless Mouse|Headset|Tablet Stand|Memory Card|Desk Fan",
        "ABS plastic|braided nylon|brushed aluminum|silicone|tempered glass|polycarbonate",
        "the office|video calls|a long flight|listening outdoors|a tidy desk|the car",
        "connector|battery|housing|button|cable",
    ),
    "Toys": (
        "Building Block Set|Stuffed Bear|Wooden Train|Puzzle|Toy Kitchen|Doll House|Kite|Marble Run",
        "beech wood|soft plush|birch plywood|thick cardboard|organic cotton|water based lacquer",
        "rainy afternoons|quiet play|birthday parties|learning to count|the garden|preschool groups",
        "wheel|corner|edge|track|box",
    ),
    "Clothing": (
        "Rain Jacket|Wool Sock Pack|Ballet Tutu|Canvas Sneaker Pair|Knit Scarf|Work Glove Pair|Sun Hat|Fleece Vest",
        "merino wool|cotton canvas|soft tulle|waxed cotton|leather|stretch denim",
        "cold mornings|dance class|garden work|rainy commutes|the beach|everyday wear",
        "collar|sole|cuff|hem|pocket",
    ),
}

OPENERS = (
    "The %(name)s is a %(adj)s %(noun)s made of %(m)s in %(c)s.",
    "Made of %(m)s, this %(c)s %(noun)s from %(brand)s is made for %(use)s.",
    "This %(adj)s %(noun)s in %(c)s measures %(w)d x %(h)d inches and weighs %(k)d ounces.",
    "%(brand)s builds the %(line)s %(noun)s from %(m)s for %(use)s.",
)
SENTENCES = (
    "It measures %(w)d x %(h)d inches.",
    "The %(part)s is made of %(m)s and will not bend or crack.",
    "At %(k)d ounces it is easy to carry and easy to store.",
    "The %(c)s finish matches the rest of the %(line)s series.",
    "It is a good choice for %(use)s.",
    "Model %(code)s comes with a %(y)d year warranty.",
    "Wipe the %(part)s clean with a damp cloth; do not soak it.",
    "Every %(noun)s is checked by hand before it leaves the workshop.",
    "The box holds one %(noun)s, a spare %(part)s and a printed guide of %(p)d pages.",
    "Unlike thinner models, the %(line)s keeps its shape after %(p)d washes.",
    "The %(part)s was redesigned for %(use)s, and it shows.",
    "Also available in %(c2)s; the size of %(w)d inches stays the same.",
    "The %(m)s comes from one supplier, so the color is the same from one %(noun)s to the next.",
    "Set it up in %(y)d minutes, with no tools.",
    "People who own the %(line)s say that the %(part)s alone is worth it.",
    "It holds up to %(h)d pounds when the %(part)s is closed.",
    "%(brand)s has made every %(noun)s in the same town since 19%(p)02d.",
    "It fits a space of %(h)d inches and folds down to half of that.",
)

KINDS = (
    "Silent|Borrowed|Copper|Hidden|Northern|Winter|Paper|Salt|Glass|Quiet|Second|Crooked|Painted|Long|Lost|Blue".split(
        "|"
    )
)
SUBJECTS = (
    "Lighthouse|Orchard|Garden|Clockmaker|River|Kingdom|Harvest|Mountain|Road|House|Fleet|Coin|Stair|Season|Ledger|Bridge"
).split("|")
_HEADS = "Oster|Vell|Kars|Pinn|Tarn|Dray|Sunder|Mire|Wex|Harl|Bray|Quen|Lod|Farn|Ebb|Thorn|Skel|Ald|Yarm|Crow".split(
    "|"
)
_ENDS = "mere|hollow|combe|stead|holt|wick|moor|by|ford|haven|gate|ley|field|cross|port|dale|bridge|ness".split("|")
PLACES = tuple(head + end for head in _HEADS for end in _ENDS)
FIRST = "Ada|Bram|Clara|Dov|Edith|Felix|Greta|Hollis|Ines|Jonas|Karin|Leopold|Mara|Nils|Odette|Piers".split("|")
LAST = "Averling|Brockhurst|Castellane|Dunmorrow|Ellingsen|Farquay|Gravelle|Hoxley|Iremonger|Jessamy|Kettleby".split(
    "|"
)
GENRES = (
    "novel|history|cookbook|field guide|memoir|collection of stories|workbook|biography|textbook|picture book".split(
        "|"
    )
)
BOOK_OPENERS = (
    "%(title)s is a %(genre)s by %(who)s, set in %(place)s.",
    "In this %(genre)s of %(p)d pages, %(who)s returns to %(place)s.",
    "When %(hero)s comes back to %(place)s in 19%(y2)02d, nothing is where it was.",
    "%(who)s spent %(y)d years on this %(genre)s, and every page shows it.",
)
BOOK_SENTENCES = (
    "%(hero)s has %(y)d days to find the %(subject)s before the road to %(place)s closes.",
    "The %(subject)s stands at the center of the book.",
    "It has %(p)d pages, %(y)d maps and an index.",
    "%(who)s lives in %(place)s and teaches there.",
    "The book grew out of letters found in %(place)s in 19%(y2)02d.",
    "Readers of the first volume will meet %(hero)s again.",
    "Each of the %(y)d chapters ends with questions for a class or a reading group.",
    "Nobody in %(place)s speaks of the %(subject)s, least of all %(hero)s.",
    "This %(genre)s was first published in 19%(y2)02d and is now back in print.",
    "The drawings are by %(hero)s, who also made the cover.",
    "A careful, funny and generous %(genre)s about work, family and %(place)s.",
    "The second part follows the %(subject)s from 19%(y2)02d to today.",
)
BLURBS = tuple(
    f"{brand} Press prints small editions of books that went out of print, each one checked against the first edition, "
    f"reset in a clear type and bound to last. Our {subject} list has more than {number} titles."
    for brand, subject, number in zip(BRANDS, SUBJECTS + SUBJECTS, range(40, 900, 37), strict=False)
)
JUNK = "test item not to bid " * 20
BOILERPLATE = ("Book by", "Text: English, French (translation)", "Library of Liberal Arts title.", "VHS Tape")
EDITIONS = ("thePaperback", "theHardcover", "an alternatePaperback", "theAudio Cassette", "theLibrary Binding")
TAILS = tuple(f"--This text refers to {edition}edition." for edition in EDITIONS) + (
    "--This text refers to an out of print or unavailable edition of this title.",
)
COPYRIGHTS = tuple(f"Copyright {year} Reed Business Information, Inc." for year in range(1985, 2004)) + (
    "Copyright &copy; Reed Business Information, a division of Reed Elsevier Inc. All rights reserved.",
)
# Entities in the shares seen in the real file: every notation in one file.
ENTITIES = (
    "&#x2019; 324|&#x2018; 219|&#x2026; 76|&#x201C; 44|&#x201D; 43|&#x2013; 40|&mdash; 35|&#8221; 33|&#160; 30|"
    "&#8220; 29|&copy; 23|&quot; 22|&amp; 19|&#8217; 18|&#x2022; 15|&#8230; 13|&nbsp; 8|&eacute; 3|&#xE9; 3|&reg; 3"
)
WINDOWS = ("&#151;", "&#x92;", "&#147;", "&#x8B;", "&#146;", "&#x97;")
