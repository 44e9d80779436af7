"""One file per revision, its number first; a revision that was released never changes."""
