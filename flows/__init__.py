"""Flows: what happens, in which order. Each fits a screen."""
