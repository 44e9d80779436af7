"""The files of a published model version: written by export and registry, read by serving."""
