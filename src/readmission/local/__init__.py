"""The one-machine stack: PostgreSQL, S3, MLflow and the API as child processes of one owner, without containers."""
