"""Serving: one process that answers questions over HTTP, for programs (OpenAI's protocol) and for people (a page)."""
