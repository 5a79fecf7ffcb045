"""The benchmark: frozen cases with goals, measured beside the peers in the same run."""
