"""Compare the API with a no-op on the same server and with other servers of the same model: ``make bench-api``.

Without imports, since some modules run in environments without the project.
"""
