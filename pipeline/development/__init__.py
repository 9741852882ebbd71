"""Where SQL is changed safely: places of one's own, and what a change does."""
