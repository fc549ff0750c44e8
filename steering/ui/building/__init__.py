"""The pages under Build: Direction."""
