"""Measurements and simulations; README.md lists the commands."""
