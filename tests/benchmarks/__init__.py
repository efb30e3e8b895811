"""Benchmarks, run by `make bench`: `python -m tests.benchmarks.catalogue`, `.prepare`, `.train`."""
