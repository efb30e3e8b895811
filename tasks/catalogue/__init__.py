"""The catalogue: lines to shards, shards to clean rows, rows to splits. Imports no Prefect and no MLflow."""
