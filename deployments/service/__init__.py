"""What `shardtune up` runs: servers, workers, and the processes that watch them."""
