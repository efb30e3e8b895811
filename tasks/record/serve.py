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
from tasks.tuning import LocalTune


class Answering(PythonModel):
    """Answers questions in the words that the model was tuned on."""

    def load_context(self, context: Any) -> None:
        """Load the base model of the run and the adapter that lies beside this file's artifacts."""
        about = json.loads(Path(context.artifacts["about"]).read_text())
        tune = LocalTune.model_validate(about["tune"])
        self.system = STYLES[about["style"]].system
        self.sampler = Sampler(base.resolve(tune), context.artifacts["adapter"], tune)

    # No type hints: with them MLflow ignores the logged signature, and with it every parameter.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """One answer a question. `params` may hold the fields of Decoding; by default the answer is the likeliest."""
        system = [Message(role="system", content=self.system)] if self.system else []
        questions = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        asked = [[*system, Message(role="user", content=str(question))] for question in questions]
        return [answer.text for answer in self.sampler.answer(asked, Decoding.model_validate(params or {}))]


set_model(Answering())
