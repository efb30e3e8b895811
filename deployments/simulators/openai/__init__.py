"""OpenAI's fine-tuning service and Azure's deployments, simulated."""
