"""What the benchmark of feature marts generates, and what it compares them with."""
