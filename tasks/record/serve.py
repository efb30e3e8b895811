"""Serve: a tuned model as MLflow loads it. `mlflow.pyfunc.load_model(URI).predict(["What is the … product?"])`.

MLflow runs this file when it loads the model, so it says at its end which model it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from tasks.backends import base
from tasks.backends.contract import Decoding
from tasks.backends.sampler import Sampler
from tasks.examples.styles import STYLES
from tasks.models import Message
from tasks.recipe import LocalTune


class Answering(PythonModel):
    """Answers questions in the words that the model was tuned on."""

    def load_context(self, context: Any) -> None:
        """Load the base model of the run and the adapter that lies beside this file's artifacts."""
        about = json.loads(Path(context.artifacts["about"]).read_text())
        tune = LocalTune.model_validate(about["tune"])
        self.system = STYLES[about["style"]].system
        self.sampler = Sampler(base.resolve(tune), context.artifacts["adapter"], tune)

    def predict(  # type: ignore[override]
        self, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """One answer a question. `params` may hold the fields of Decoding; without, the answer is the likeliest."""
        system = [Message(role="system", content=self.system)] if self.system else []
        asked = [[*system, Message(role="user", content=question)] for question in model_input]
        wanted = {"repetition_penalty": 1.15} | (params or {})
        return [answer.text for answer in self.sampler.answer(asked, Decoding.model_validate(wanted))]


set_model(Answering())
