"""What docker-compose.yml starts beside Prefect and MLflow: buckets made, services asked whether they are well."""
