"""platform_db: executions and their results, the lock of a run, swaps under way, promotions."""
