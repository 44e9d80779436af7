"""From raw records to numbers: one table of cleaning rules, one fitted encoder, two executors (columns and record)."""
