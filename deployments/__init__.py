"""Deployments: what runs the flows: recipes, Prefect deployments, the service, simulators, the demo, containers."""
