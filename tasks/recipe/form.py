"""Form: how Prefect's page shows a recipe: first what people change, the rest behind one tab called "Advanced".

Prefect shows what a schema lists under `properties`. It checks `patternProperties`, `then` and the siblings of an
`anyOf` too, but shows none of them. So a run still has the parameters of a whole recipe, and only their look changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]
KEY = "advanced"
SECTIONS = {
    "catalogue": ("uri",),
    "tune": ("base_model", "epochs", "max_steps", "learning_rate", "learning_rate_multiplier"),
}
"""Of these sections the fields that stand on the first screen; the others are advanced."""
FIRST = ("name", "catalogue", "tune", "shards", "budget_usd", "promote")
"""What stands on the first screen, in this order. No field of it is advanced, so each value has one place."""
SHOWN = {
    "prepare": ("name", "catalogue"),
    "finetune": FIRST,
    "retrain": ("name", "catalogue", "tune", "budget_usd", "promote"),
    "ask": ("catalogue", "tune"),
    "compare": ("catalogue", "tune"),
}
"""By the name of the flow: what of FIRST it uses."""
TEXTS = {
    "recipe": ("Recipe", "One run, from the catalogue to the evidence."),
    "again": ("Again", "Start a failed or cancelled job again; a paid one is paid for again."),
    "wait": ("Wait", "On: this run ends with the job. Off: the flow sweep finishes it and goes on with the chain."),
    "questions": ("Questions", "Each is answered by itself."),
    "model": ("Model", "base, champion, run:ID, KEY, NAME@champion or NAME/VERSION."),
    "models": ("Models", "Two or more of base, champion, run:ID, KEY, NAME@champion, NAME/VERSION."),
    "style": ("Style", "Ask in another style than the model's own."),
    "where": ("Where", "Look only at rows with these facts, each as NAME=VALUE; all must hold."),
    "backends": ("Backends", "Leave out models of others; empty: none is left out."),
}
TITLES = {"catalogue": "Catalogue", "tune": "Model"}
OTHER = ("Another catalogue", "Empty: the catalogue and the settings that the model was tuned with.")
ADVANCED = "Everything else. What you open here begins with the values of this recipe."
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def folded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values where those of the form's tab "Advanced" have their place; they replace, none is merged."""
    advanced = values.get(KEY)
    rest = {key: value for key, value in values.items() if key != KEY}
    if not isinstance(advanced, Mapping) or not advanced:
        return rest
    made = {key: value for key, value in rest.items() if key in FIRST and key not in SECTIONS}
    made |= {key: value for key, value in advanced.items() if key not in SECTIONS}
    for section, first in SECTIONS.items():
        own, more = rest.get(section), advanced.get(section)
        if own is not None or more is not None:
            kept = {key: value for key, value in (own or {}).items() if key in (*first, "kind")}
            made[section] = kept | dict(more or {})
    return made


def shown(schema: Schema, flow: str, values: Mapping[str, Any] | None) -> Schema:
    """The schema of a flow's parameters as its form shows it.

    `values` is the recipe of the deployment, whole; None where the flow finds its recipe by a model. Flows without a
    recipe keep their schema but for titles.
    """
    schema = copy.deepcopy(schema)
    properties, known = schema["properties"], schema.get("definitions", {})
    for name, (title, text) in TEXTS.items():
        if name in properties:
            properties[name] = _optional(properties[name]) | {"title": title, "description": text}
    if "recipe" in properties:
        _narrow(known, values)
        made = _first(known, SHOWN[flow], values)
        made["properties"][KEY] = _advanced(known, values)
        position = properties["recipe"]["position"]
        properties["recipe"] = made | {"title": "Recipe", "position": position}
        if values is None:
            properties["recipe"] |= {"title": OTHER[0], "description": OTHER[1]}
        del known["Recipe"]
    for each in (schema, *known.values(), *_all(properties.get("recipe", {}))):
        _dressed(each)
    return schema


def given(values: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Parameters of a deployment without empty ones of this schema: a box that is left empty names no value."""
    fields = schema.get("properties", {})
    return {
        key: given(value, fields[key]) if isinstance(value, Mapping) and key in fields else value
        for key, value in values.items()
        if value is not None or "anyOf" in fields.get(key, {"anyOf": ()})
    }


def _narrow(known: Schema, values: Mapping[str, Any] | None) -> None:
    """One deployment has one backend: its own fields stand in the form, without tabs of the others."""
    tune = known["Recipe"]["properties"]["tune"]
    kind = ((values or {}).get("tune") or {}).get("kind", "local")
    for option in tune["anyOf"]:
        name = option.get("$ref", "").rpartition("/")[2]
        if name and known[name]["properties"]["kind"]["const"] == kind:
            known["Tune"] = known[name]


def _first(known: Schema, names: tuple[str, ...], values: Mapping[str, Any] | None) -> Schema:
    """The first screen: `names` of the recipe, and of its sections the fields that people change."""
    recipe = known["Recipe"]
    made = _split(recipe, names)
    for section, fields in SECTIONS.items():
        if section in names:
            whole = known["Tune" if section == "tune" else "Catalogue"]
            some = fields if values else fields[:1]
            own = _split(whole, some) | {"title": TITLES[section]}
            own["required"] = [name for name in ("uri", "base_model") if name in own["properties"]] if values else []
            if section == "tune" and not values:  # whatever the model's backend is
                own["patternProperties"], own["additionalProperties"] = {}, True
            made["properties"][section] = own
    if values is None:
        return _plain(made)
    return made | {"required": [section for section in SECTIONS if section in names]}


def _plain(field: Schema) -> Schema:
    """Without defaults, which Prefect's page would fill in."""
    made = {key: value for key, value in field.items() if key != "default"}
    if "properties" in made:
        made["properties"] = {key: _plain(value) for key, value in made["properties"].items()}
    return made


def _split(whole: Schema, names: tuple[str, ...]) -> Schema:
    """The schema of a model that shows these of its fields, in this order, and takes the others unseen."""
    fields = whole["properties"]
    made = {key: value for key, value in whole.items() if key not in ("properties", "required", "description")}
    made["properties"] = {name: _optional(fields[name]) for name in names if name in fields}
    made["patternProperties"] = {f"^{name}$": one for name, one in fields.items() if name not in made["properties"]}
    return made


def _advanced(known: Schema, values: Mapping[str, Any] | None) -> Schema:
    """Two tabs: what the recipe says, which is nothing to see; and everything that is not on the first screen."""
    defaults = {key: value for key, value in (values or {}).items() if key not in (*FIRST, *SECTIONS)}
    fields = {k: _optional(v) for k, v in known["Recipe"]["properties"].items() if k not in (*FIRST, *SECTIONS)}
    for section, first in SECTIONS.items():
        own = (values or {}).get(section)
        if section == "tune" and own is None:
            continue
        whole = known["Tune" if section == "tune" else "Catalogue"]
        rest = {k: _optional(v) for k, v in whole["properties"].items() if k not in (*first, "kind")}
        fields[section] = {**whole, "properties": rest, "required": [], "title": f"{TITLES[section]}, further"}
        if own is not None:
            defaults[section] = {key: own[key] for key in rest if key in own}
    known["Advanced"] = known["Recipe"] | {"title": "Advanced", "properties": fields, "required": []}
    other: Schema = {"$ref": "#/definitions/Advanced"}
    filled = {"default": defaults} if defaults else {}
    return {
        "title": "Advanced",
        "description": ADVANCED,
        "anyOf": [{"title": "As in the recipe", "type": "object"}, other | {"title": "Change"} | filled],
        "if": {},
        "then": other,
    }


def _optional(field: Schema) -> Schema:
    """A plain value that is empty by default needs no tab for "None": its box is left empty."""
    options = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) != 1 or len(field["anyOf"]) == 1 or {"$ref", "enum"} & {*options[0]} or field.get("default"):
        return field
    return {key: value for key, value in field.items() if key not in ("anyOf", "default")} | options[0]


def _all(schema: Any) -> Iterator[Schema]:
    """Every object inside."""
    if isinstance(schema, dict):
        yield schema
        for one in schema.values():
            yield from _all(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _all(one)


def _dressed(model: Schema) -> None:
    """Tabs with plain names; bounds where no browser sees them, which would stop at the first bad value."""
    for field in model.get("properties", {}).values():
        options = field.get("anyOf", ())
        for one in options:
            if one.get("type") == "null" or "enum" in one:
                one.setdefault("title", "Choice" if "enum" in one else "Empty")
        for one in (field, *options):
            if bounds := {name: one.pop(name) for name in BOUNDS if name in one}:
                one |= {"if": {}, "then": bounds}
