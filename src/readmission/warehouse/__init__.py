"""PostgreSQL: raw batches, cumulative views and clean tables; COPY in, COPY out; builds that are swapped in."""
