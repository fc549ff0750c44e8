"""A steering setup as plain data: its steps, and everything that is derived from what the methods declare."""
