"""Side-by-side measurements; each prints one JSON object as its last line."""
