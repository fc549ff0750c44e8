"""The pages under Explore: Features and Tokens."""
