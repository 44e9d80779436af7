"""The source file: acquired, verified, cached, and read in batches; synthetic records in its format."""
