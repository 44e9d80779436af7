"""The local stack: PostgreSQL, S3, MLflow and the API as child processes of one process, without containers."""
