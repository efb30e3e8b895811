"""Portable: a tuned model as files that other programs open, with a model card, read back before they are passed on."""
