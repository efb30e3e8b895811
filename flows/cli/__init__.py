"""The `shardtune` command: options, printing, and one module for each group of subcommands."""
