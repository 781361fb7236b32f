"""What the user sees: one page, one viewer per visitor, one port."""
