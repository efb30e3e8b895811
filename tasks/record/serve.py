"""Serve: a tuned model as MLflow loads it. `mlflow.pyfunc.load_model(URI).predict(["What is the … product?"])`.

MLflow runs this file when it loads the model, so it says at its end which model it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from pydantic import TypeAdapter

from tasks.answers import ask
from tasks.answers.index import Index, folder_of
from tasks.answers.reply import Target
from tasks.backends.contract import Decoding
from tasks.backends.local.resident import resident
from tasks.core.models import Message
from tasks.examples.styles import STYLES
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import Tune


class ServedModel(PythonModel):
    """Answers questions in the words that the model was tuned on; `checked`, with a source from the index here."""

    def load_context(self, context: Any) -> None:
        """Take up the base model of the run and the adapter beside this file's artifacts, or the provider's model."""
        about = json.loads(Path(context.artifacts["about"]).read_text())
        self.recipe = Recipe.model_validate(about["recipe"])
        tune: Tune = TypeAdapter(Tune).validate_python(about["tune"])
        model = context.artifacts.get("adapter") or about["model"]
        self.target = Target(name=about["key"], tune=tune, style=about["style"], model=model, key=about["key"])
        self.answer = resident(tune, model)

    # No type hints: with them MLflow ignores the logged signature, and with it every parameter.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """One answer a question. `params` may hold the fields of Decoding; by default the answer is the likeliest.

        With `checked` each answer is a reply as JSON (see tasks.answers.reply), drawn as `shardtune ask` draws it.
        """
        params = dict(params or {})
        questions = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        if params.pop("checked", False):
            return [reply.model_dump_json() for reply in self.checked([str(question) for question in questions])]
        system = STYLES[self.target.style].system
        turns = [Message(role="system", content=system)] if system else []
        talks = [[*turns, Message(role="user", content=str(question))] for question in questions]
        return [answer.text for answer in self.answer(talks, Decoding.model_validate(params))]

    def checked(self, questions):  # type: ignore[no-untyped-def]
        """Replies with sources; each is a trace. AnswerError where this machine has no index of the catalogue."""
        from tasks.record import traces

        recipe, index = self.recipe, Index(folder_of(self.recipe.catalogue, self.recipe.clean, self.recipe.split))
        drawn = ask.decoding(recipe.evaluate, self.target.style, recipe.seed)
        replies = ask.replies(
            questions, self.target, index, recipe.ask, drawn, lambda _, talks, drawn: self.answer(talks, drawn)
        )
        traces.write(replies)
        return replies


set_model(ServedModel())
