"""Tasks: a module here is Prefect policy (caching, retries, names, artifacts); a folder is a library.

Libraries know neither Prefect nor MLflow. Two folders are named for what they do know: `orchestrator` is Prefect's own
side, `record` is MLflow.
"""
