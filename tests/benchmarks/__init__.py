"""Benchmarks, run by `make bench`: `python -m tests.benchmarks.prepare`, `.train`, `.waits` and others."""
