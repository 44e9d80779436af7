"""The API beside a no-op on the same server and beside other ways to serve the same model: ``make bench-api``.

Kept empty: some modules run in environments that do not hold the project.
"""
