"""Vertex's tuning jobs and their storage, simulated."""
