"""Keys and values of what was read: kept for rows that come and go, and shared by texts that begin alike."""
