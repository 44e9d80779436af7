"""The command line ``readmission ...``: commands, options, what they show, and errors as one plain line."""
