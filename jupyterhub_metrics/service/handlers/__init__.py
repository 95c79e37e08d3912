"""What the service answers to, one module for each kind of caller."""
