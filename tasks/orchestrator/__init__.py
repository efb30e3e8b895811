"""Orchestrator: Prefect itself: its server, flow runs, results, secrets and pages."""
