"""Deployments: recipes, and later Prefect deployments, simulators and containers."""
