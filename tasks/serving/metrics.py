"""Metrics: what Prometheus reads of a server; of its own, so that those of other libraries stay out."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server. No label holds a text from outside."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        told = {
            "requests": "Requests by route and status.",
            "answers": "Answers by model and state.",
            "tokens": "Tokens of prompts and answers.",
            "traces_lost": "Answers that no trace could be written of.",
        }

        def counter(name: str, *labels: str) -> Counter:
            return Counter(name, told[name], labels, namespace="shardtune", registry=self.registry)

        self.requests, self.states = counter("requests", "route", "status"), counter("answers", "model", "state")
        self.tokens, self.lost = counter("tokens", "kind"), counter("traces_lost")
        self.open = Gauge("open", "Requests that are worked on or wait.", namespace="shardtune", registry=self.registry)
        self.seconds = Histogram(
            "seconds", "To a whole answer.", ["route"], "shardtune", buckets=BUCKETS, registry=self.registry
        )

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
