"""The steps of the pipeline and what runs them: the command line, tasks of an orchestrator, the process pool."""
