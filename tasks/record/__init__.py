"""Record: the only folder that knows MLflow. A link's run is its ledger, its evidence and its history."""
