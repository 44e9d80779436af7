"""What alembic runs: all revisions that are missing, in the transaction that ``migrate`` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
context.run_migrations()
