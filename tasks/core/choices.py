"""Choices: the words that a recipe and an option of a command may choose from. Nothing is imported here but typing."""

from __future__ import annotations

from typing import Literal

Format = Literal["openai", "gemini", "chat", "alpaca"]
StyleName = Literal["describe", "describe-with-source", "sales", "grounded", "facts"]

WANTED = ("uid", "title", "content")
"""The fields of a row."""
