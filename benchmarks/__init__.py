"""What the packages cost beside their peers, measured side by side; every number is a ratio."""
