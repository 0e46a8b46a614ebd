"""What a module is, and what all modules do."""
