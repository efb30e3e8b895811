"""Evaluation: models judged: questions, metrics, comparisons, verdicts. Imports no Prefect and no MLflow."""
