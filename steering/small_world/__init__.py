"""The language of the bundled organism: its world, claims, choices, dilemmas, requests and stories."""
