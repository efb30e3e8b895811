"""The recipe: one validated model of a run.

The same model is a YAML file (`--recipe FILE.yaml --set tune.epochs=2`), the parameter of the flows, and the form in
the Prefect UI; so every field has a title, a description and bounds. Unknown keys are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks.core.models import Format, Frozen, StyleName
from tasks.core.redaction import REFUSED_IN_FORMS
from tasks.recipe.fields import Fields
from tasks.recipe.form import folded
from tasks.recipe.tuning import GeminiTune, LocalTune, OpenAITune


class Catalogue(Frozen):
    """Where the products come from and how the lines are cut into shards."""

    uri: str | None = Field(
        None,
        title="Path or URI",
        description="Of a file of JSON lines, a JSON array, Python dictionaries, CSV, TSV, Excel, Parquet "
        "or Arrow (also packed: .gz, .bz2, .xz, .zst, .zip, .tar; local, s3://, gs://, hf://), a folder or prefix of "
        "such files, a pattern (feed/*.json), a Hugging Face data set, or a database with a query. "
        "Required for prepare.",
        json_schema_extra=REFUSED_IN_FORMS,
    )
    config: str | None = Field(
        None,
        title="Configuration",
        description="Of a data set whose card names several, or the sheet of a workbook; empty: its default.",
    )
    query: str | None = Field(
        None,
        max_length=10_000,
        title="Query",
        description="Where the catalogue is a database (postgresql://user@host/shop): select … from … order by ….",
    )
    split: str | None = Field(
        None,
        title="Split of a data set",
        description="train, or several as train+validation; empty: train, or all files but those of tests and labels.",
    )
    encoding: str | None = Field(
        None,
        max_length=40,
        title="Encoding",
        description="Of text that is no UTF-8 and has no byte order mark: cp1252, latin-1, cp1250, …",
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        title="Delimiter",
        description="Between the columns of a table; empty: what its first lines tell.",
    )
    fields: Fields | None = Field(
        None,
        title="Fields",
        description="Which columns or keys become uid, title and content, as `shardtune init FILE` proposes them; "
        "empty: those of these names.",
    )
    max_quarantined_share: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Largest share in quarantine",
        description="prepare fails where more of the lines than this share are no rows.",
    )
    max_drift: float | None = Field(
        None,
        gt=0,
        le=1,
        title="Largest drift",
        description="retrain fails before it starts a job where new shards are further than this from those before "
        "them, in words, lengths or the share that is left out; 0.2 suits most. Empty: it is not looked at.",
    )
    lines_per_shard: int = Field(
        32_124,
        ge=1,
        le=10_000_000,
        title="Lines per shard",
        description="Consecutive catalogue lines in one shard. 32,124 lines give 70 shards of about 20,000 kept rows "
        "on the full AmazonTitles-1.3MM file.",
    )
    cuts: tuple[Annotated[int, Field(ge=1, le=10_000_000)], ...] = Field(
        (),
        title="Learned cuts",
        description="Lines of the first shards, where a chain has learned some that were not full; set by retrain.",
    )
    max_line_bytes: int = Field(
        16_000_000, ge=1_000, title="Longest line", description="A longer line, in bytes, goes to quarantine unread."
    )


class Cleaning(Frozen):
    """Which cleaning rules run. Each that drops a row is counted under its own name."""

    unescape: bool = Field(True, title="Unescape", description="Decode HTML entities of every notation.")
    entity_stumps: bool = Field(
        True,
        title="Stumps of entities",
        description="Mend entities that lost their '&' ('it x2019;s', '17quot;'). Rows with such damage are counted.",
    )
    mojibake: bool = Field(
        True,
        title="Mojibake",
        description="Mend UTF-8 that was read in another encoding ('CafÃ©'), by the library ftfy. Counted.",
    )
    lost_characters: bool = Field(
        True,
        title="Lost characters",
        description="Remove the mark �, which stands for a character that an earlier program lost. Counted.",
    )
    strip_tags: bool = Field(
        True,
        title="Strip tags",
        description="Read HTML as a browser shows it: inline tags leave nothing, others a space.",
    )
    controls: bool = Field(True, title="Control characters", description="Replace control characters by a space.")
    whitespace: bool = Field(
        True, title="Whitespace", description="Fold runs of white space. Both ends are trimmed in any case."
    )
    paragraphs: bool = Field(
        True,
        title="Paragraphs",
        description="Keep line breaks, blank lines and list items of contents, also those of HTML; off: one line.",
    )
    normalise: bool = Field(True, title="Unicode NFC", description="Bring text to Unicode normal form C.")
    boilerplate_tails: bool = Field(
        True,
        title="Boilerplate tails",
        description="Cut 'This text refers to the … edition.' and copyright tails. Rows with such a tail are counted.",
    )
    blank_title: bool = Field(True, title="Blank title", description="Drop rows with no title.")
    blank_content: bool = Field(True, title="Blank content", description="Drop rows with no content.")
    min_title: int = Field(1, ge=1, le=2_000, title="Shortest title", description="Characters; shorter is dropped.")
    min_content: int = Field(
        20, ge=1, le=100_000, title="Shortest content", description="Characters; shorter is dropped."
    )
    boilerplate_only: bool = Field(
        True,
        title="Boilerplate only",
        description="Drop rows with nothing but boilerplate ('Book by', 'Text: English', 'By X, Illustrated by Y').",
    )
    title_is_content: bool = Field(True, title="Title = content", description="Drop rows that describe nothing.")
    junk: bool = Field(True, title="Junk", description="Drop test items and one phrase repeated over and over.")
    duplicates: Literal["keep", "drop"] = Field(
        "drop",
        title="Exact duplicates",
        description="What happens to a later row with the same title and content, over all shards; report A keeps it.",
    )
    same_uid: Literal["first", "newest", "keep"] = Field(
        "first",
        title="Rows of one uid",
        description="Which of several rows with the same uid stays; the others are counted. newest: the last in the "
        "catalogue, so that shards already prepared change when it grows.",
    )
    shared_content: int | None = Field(
        3,
        ge=2,
        le=1_000_000,
        title="Shared content",
        description="Drop rows whose content stands under this many different titles or more, in this shard and those "
        "before it: a publisher's text describes no product. Titles that share more than half of their words, such as "
        "sizes of one product, count once. Empty: keep them.",
    )


class Splitting(Frozen):
    """The holdout, decided by the row alone so that no later shard can leak into it."""

    holdout_share: float = Field(
        0.1,
        ge=0.0,
        le=0.7,
        title="Holdout share per hash",
        description="p: a row is held out where the hashes of its normalised title AND content fall below p (share "
        "p²), trained on where NEITHER does (share (1-p)²), and reserved otherwise.",
    )


class Exporting(Frozen):
    """Which examples are written, and in which words."""

    style: StyleName = Field("describe", title="Style", description="How a row becomes a conversation.")
    formats: tuple[Format, ...] = Field(
        ("openai",),
        min_length=1,
        title="Formats",
        description="openai and gemini: chat JSON lines; chat: the model's own template; alpaca: for models without.",
    )
    train_per_shard: int | None = Field(
        None, ge=1, title="Training examples per shard", description="A fixed sample of each shard; empty means all."
    )
    holdout_per_shard: int | None = Field(
        None, ge=1, title="Holdout examples per shard", description="A fixed sample of each shard; empty means all."
    )
    fix: bool = Field(
        False,
        title="Quarantine bad examples",
        description="Examples with errors are left out and listed in a quarantine file; off: they stop the run.",
    )
    from_feedback: bool = Field(
        False,
        title="Learn from feedback",
        description="Corrections that `shardtune review --approve` let pass become training examples of the last link.",
        exclude_if=lambda wanted: not wanted,
    )


class Evaluation(Frozen):
    """The fixed questions asked before and after, and how answers are decoded."""

    seen: int = Field(8, ge=0, le=10_000, title="Seen questions", description="On products that were trained on.")
    unseen: int = Field(8, ge=0, le=10_000, title="Unseen questions", description="On products held out.")
    heldout_rows: int = Field(
        64, ge=1, le=100_000, title="Held-out rows", description="Same rows, loss before and after."
    )
    max_new_tokens: int = Field(96, ge=1, le=8_192, title="Longest answer", description="Tokens.")
    temperature: float = Field(0.7, ge=0, le=2, title="Temperature", description="Besides 0, which is always asked.")
    repetition_penalty: float = Field(
        1.0, ge=1, le=2, title="Repetition penalty", description="1 is none; words of the prompt are never punished."
    )


class Answering(Frozen):
    """How a question is answered with a source."""

    product_url: str = Field(
        "https://www.amazon.com/dp/{uid}", title="Product URL", description="Where a person finds {uid}."
    )
    rows: int = Field(3, ge=1, le=20, title="Rows shown", description="In a grounded prompt, best first.")


class Comparing(Frozen):
    """The questions by which models are compared, and what decides."""

    seen: int = Field(50, ge=0, le=10_000, title="Seen questions", description="On products that were trained on.")
    unseen: int = Field(
        50, ge=1, le=10_000, title="Unseen questions", description="On products held out; asked again as absent ones."
    )
    measure: Literal["answered", "to_the_point", "chrf", "rouge_l"] = Field(
        "answered",
        title="Measure",
        description="By which a model is better. answered: share of questions answered to the point in the model's own "
        "checked words; to_the_point: also by quotes; or likeness to the row's content.",
    )
    gate: int = Field(
        700,
        ge=1,
        le=100_000,
        title="Questions of the gate",
        description="At most so many on seen and so many on unseen products, by which a model becomes champion. With "
        "700 a gain of ten points is found in a week, a year after the last champion; fewer find larger gains only.",
    )

    @field_validator("measure", mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        """Recipes of before 2026-11-27, also those kept with models, say `supported`."""
        return "answered" if value == "supported" else value


class Apart(Frozen):
    """How far training rows must be from the holdout. Equal titles or contents are always kept apart by the split."""

    threshold: float = Field(
        0.8,
        gt=0.3,
        le=1,
        title="Similarity",
        description="Jaccard similarity of three-word runs from which two rows are near duplicates.",
    )
    then: Literal["report", "drop"] = Field(
        "report", title="Near duplicates", description="report: told in MLflow; drop: also left out of training."
    )


class Forgetting(Frozen):
    """What a chain may forget: after each link, questions on the holdouts of all earlier shards."""

    questions: int = Field(
        80,
        ge=1,
        le=1_000,
        title="Questions per shard",
        description="Asked of every later link. With 80 a loss of ten chrF points is seen at once.",
    )
    bound: float = Field(
        5.0,
        ge=0,
        le=100,
        title="Bound",
        description="chrF points that a link may lose on the holdout of one shard; more is forgotten.",
    )
    then: Literal["stop", "branch"] = Field(
        "stop",
        title="Beyond the bound",
        description="stop: the chain ends with an error; branch: it goes on from the link before.",
    )


class Recipe(Frozen):
    """One run, from the catalogue to the evidence."""

    name: str = Field(
        "recipe", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", title="Name", description="Lower case; names runs and tags."
    )
    description: str = Field("", title="Description", description="What this recipe is for.")
    catalogue: Catalogue = Field(Catalogue(), title="Catalogue")
    clean: Cleaning = Field(Cleaning(), title="Cleaning")
    split: Splitting = Field(Splitting(), title="Split")
    export: Exporting = Field(Exporting(), title="Export")
    tune: Annotated[
        LocalTune | OpenAITune | GeminiTune | None,
        Field(title="Tuning", description="The backend and its hyperparameters; empty: prepare only."),
    ] = None
    shards: tuple[int, ...] | None = Field(
        None, title="Shards", description="Numbers (from 0) of the shards that are trained on; empty means all."
    )
    chain: bool = Field(
        False,
        title="Chain",
        description="One link per shard, each starting from the model of the one before; off: one link on all shards.",
    )
    apart: Apart = Field(Apart(), title="Near duplicates")
    forgetting: Forgetting | None = Field(
        Forgetting(), title="Forgetting", description="Of a chain; empty: it is not measured."
    )
    promote: bool = Field(
        False, title="Promote", description="Register the model; it becomes champion only if the gate says so."
    )
    budget_usd: float | None = Field(
        None,
        ge=0,
        title="Budget",
        description="US dollars for the whole recipe. A link whose quote would pass it, or is unknown, does not start.",
    )
    retrain_days: int | None = Field(
        None,
        ge=1,
        title="Days until the next retrain",
        description="A base model that stops serving before then is refused.",
    )
    max_wait_hours: float | None = Field(
        168.0,
        ge=0,
        le=100_000,
        title="Longest wait for a full shard",
        description="Hours after which retrain takes a last shard that is still filling; empty: only when it is full.",
    )
    evaluate: Evaluation = Field(Evaluation(), title="Evaluation")
    ask: Answering = Field(Answering(), title="Answering")
    compare: Comparing = Field(Comparing(), title="Comparing")
    seed: int = Field(3407, ge=0, le=2**31 - 1, title="Seed", description="Set before any weight is made.")

    @model_validator(mode="before")
    @classmethod
    def _local(cls, values: Any) -> Any:
        """A tune that names no kind is local, whichever member of the union its keys would fit.

        What the run form sends under "Advanced" has its place in the recipe.
        """
        values = folded(values) if isinstance(values, dict) else values
        tune = values.get("tune") if isinstance(values, dict) else None
        return {**values, "tune": {"kind": "local", **tune}} if isinstance(tune, dict) else values
