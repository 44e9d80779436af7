"""The tables of November 2026. A database from before migrations has them already, and is adopted as it is."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE IF NOT EXISTS executions (
    execution text PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT now(), options jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS stage_results (
    execution text NOT NULL REFERENCES executions ON DELETE CASCADE, stage text NOT NULL, result jsonb NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (execution, stage));
CREATE TABLE IF NOT EXISTS swaps (execution text PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL,
    model_name text NOT NULL, from_version text, to_version text NOT NULL, decision text NOT NULL,
    reasons jsonb NOT NULL, execution text);
ALTER TABLE promotions ADD COLUMN IF NOT EXISTS pending boolean NOT NULL DEFAULT false;
CREATE TABLE IF NOT EXISTS predictions (
    id uuid PRIMARY KEY, at timestamptz NOT NULL, model_version text NOT NULL, features jsonb NOT NULL,
    probabilities double precision[] NOT NULL, readmission_class text NOT NULL);
CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at);
CREATE TABLE IF NOT EXISTS feedback (
    prediction_id uuid PRIMARY KEY, at timestamptz NOT NULL, readmitted text NOT NULL);
"""


def upgrade() -> None:
    """Create what is missing."""
    op.get_bind().exec_driver_sql(_TABLES)
