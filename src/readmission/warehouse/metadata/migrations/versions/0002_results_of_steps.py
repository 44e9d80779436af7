"""Results have the names of the steps that made them, whichever runner ran them."""

from alembic import op

revision = "0002"
down_revision = "0001"

_RENAMED = r"""
-- Results get the names of the steps that made them.
-- Airflow's: one result for each set.
UPDATE stage_results SET stage = 'train_cumulative_' || substr(stage, 11) WHERE stage ~ '^train set [0-9]+$';
UPDATE stage_results SET stage = replace(stage, ' ', '_')
WHERE stage IN ('store batches', 'store views', 'store holdout');
-- The command line's: one for all sets, not ranked.
INSERT INTO stage_results (execution, stage, result, finished_at)
SELECT execution, 'train_cumulative_' || (model ->> 'cumulative_idx'),
       jsonb_build_object('models', jsonb_agg(model ORDER BY number)), finished_at
FROM stage_results, jsonb_array_elements(result -> 'models') WITH ORDINALITY AS models (model, number)
WHERE stage = 'train' GROUP BY execution, model ->> 'cumulative_idx', finished_at
ON CONFLICT DO NOTHING;
UPDATE stage_results SET stage = 'aggregate', result = jsonb_build_object('models', (
    SELECT jsonb_agg(model ORDER BY (model -> 'metrics' ->> 'val_f1_score')::float8 DESC,
                     (model -> 'metrics' ->> 'val_roc_auc')::float8 DESC, (model ->> 'cumulative_idx')::int,
                     model ->> 'model_type' COLLATE "C")
    FROM jsonb_array_elements(result -> 'models') AS models (model)))
WHERE stage = 'train';
UPDATE stage_results SET stage = 'evaluate' WHERE stage = 'select';
INSERT INTO stage_results (execution, stage, result, finished_at)
SELECT execution, 'select', result -> 'best', finished_at FROM stage_results WHERE stage = 'evaluate';
-- One pass over the file stored all tables.
INSERT INTO stage_results (execution, stage, result, finished_at)
SELECT execution, step, jsonb_build_object(
    'rows', coalesce((SELECT jsonb_object_agg(name, count) FROM jsonb_each(result -> 'rows') AS tables (name, count)
                      WHERE name ~ pattern), '{}'),
    'views', CASE step WHEN 'store_views' THEN result -> 'views' ELSE '[]' END), finished_at
FROM stage_results, (VALUES ('store_batches', '^batch_'), ('store_holdout', '_raw$'), ('store_views', '^$'))
     AS steps (step, pattern)
WHERE stage = 'store'
ON CONFLICT DO NOTHING;
DELETE FROM stage_results WHERE stage = 'store';
-- The model that a decision was about is part of it.
UPDATE stage_results decided SET result = decided.result || jsonb_build_object('model', winner.result)
FROM stage_results winner
WHERE decided.stage = 'publish' AND winner.stage = 'published model' AND winner.execution = decided.execution;
DELETE FROM stage_results WHERE stage = 'published model';
"""


def upgrade() -> None:
    """Rename, and take apart what one step of the command line stored for several."""
    op.get_bind().exec_driver_sql(_RENAMED)
