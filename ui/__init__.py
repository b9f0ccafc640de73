"""The page: one file per tab, and the theme they share."""
