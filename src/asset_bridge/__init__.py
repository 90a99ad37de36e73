"""Asset Bridge: sell or share encrypted health data without handing it to anyone in between."""

__version__ = "0.1.0"
