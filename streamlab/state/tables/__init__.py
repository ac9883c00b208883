"""State by key: tables that operators keep, at a cost that does not grow with what is in them."""
