"""The versions of platform_db's schema, run by alembic (``migrate``)."""
