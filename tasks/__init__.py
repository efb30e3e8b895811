"""Verbs are Prefect tasks (`prepare`, `tune`, `evaluate`, `record`); nouns (the folders) are plain libraries."""
