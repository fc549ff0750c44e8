"""The pages under Steer: Compare and Chat."""
