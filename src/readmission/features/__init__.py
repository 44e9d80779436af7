"""From raw records to features: one table of cleaning rules, one fitted encoder; for columns and for one record."""
