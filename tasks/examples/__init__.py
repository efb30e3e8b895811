"""Examples: a row becomes a conversation, a conversation becomes a line of an export. Imports no Prefect, no MLflow."""
