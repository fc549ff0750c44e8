"""How the bundled organism is measured, and its card."""
