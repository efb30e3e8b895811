"""Buckets: makes those that are not there. `python -m deployments.compose.buckets NAME …`, before the others start.

The store and its keys come from the environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import boto3


def make(names: Sequence[str]) -> list[str]:
    """Make the buckets of these names; returns those that were not there."""
    store = boto3.client("s3")
    there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    made = [name for name in names if name not in there]
    for name in made:
        store.create_bucket(Bucket=name)
    return made


if __name__ == "__main__":
    print("made:", *make(sys.argv[1:]) or ["nothing, all are there"])
