"""Core: what every other folder stands on: records, errors, settings, files, processes. Imports no other folder."""
