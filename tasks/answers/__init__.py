"""Answers: questions, metrics, and later sources and verdicts. Imports no Prefect and no MLflow."""
