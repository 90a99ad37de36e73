"""See spec/ and the module docstrings inside."""
