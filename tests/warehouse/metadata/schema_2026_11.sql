-- platform_db as the release before versioned migrations made it, dumped by pg_dump --inserts, with rows in every table.
CREATE TABLE public.executions (
    execution text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    options jsonb NOT NULL
);
CREATE TABLE public.feedback (
    prediction_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    readmitted text NOT NULL
);
CREATE TABLE public.predictions (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    model_version text NOT NULL,
    features jsonb NOT NULL,
    probabilities double precision[] NOT NULL,
    readmission_class text NOT NULL
);
CREATE TABLE public.promotions (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    model_name text NOT NULL,
    from_version text,
    to_version text NOT NULL,
    decision text NOT NULL,
    reasons jsonb NOT NULL,
    execution text,
    pending boolean DEFAULT false NOT NULL
);
ALTER TABLE public.promotions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.promotions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.stage_results (
    execution text NOT NULL,
    stage text NOT NULL,
    result jsonb NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.swaps (
    execution text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL
);
INSERT INTO public.executions VALUES ('20261120_050000_000', '2026-11-20 05:00:00+00', '{"split": "patient", "batch_size": 15000}');
INSERT INTO public.executions VALUES ('manual_2026_11_21_ab12cd34', '2026-11-21 05:00:00+00', '{"split": "patient", "batch_size": 15000}');
INSERT INTO public.feedback VALUES ('0193466b-f400-7a11-8c22-112233445566', '2024-12-24 00:26:40+00', '<30');
INSERT INTO public.predictions VALUES ('0193466b-f400-7a11-8c22-112233445566', '2024-11-20 05:00:00+00', '1', '{"race": "Asian", "time_in_hospital": 3}', '{0.6,0.3,0.1}', 'NO');
INSERT INTO public.predictions VALUES ('0193466b-f401-7a11-8c22-112233445566', '2024-11-20 05:01:40+00', '1', '{"race": "a\tb"}', '{0.2,0.3,0.5}', '<30');
INSERT INTO public.promotions OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-20 06:00:00+00', 'pipeline', 'diabetes_readmission_model', NULL, '1', 'published', '["no model in production yet"]', '20261120_050000_000', false);
INSERT INTO public.promotions OVERRIDING SYSTEM VALUE VALUES (2, '2026-11-20 06:00:00+00', 'ward', 'diabetes_readmission_model', '1', '2', 'promoted', '["it''s time"]', NULL, true);
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'download', '{"path": "data.csv", "sha256": "ab"}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'clean', '{"rows": {"train_clean": 200}}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'split', '{"seed": 42, "sizes": {"test": 40, "train": 200, "validation": 40}, "batches": 2, "grouping": "patient", "assignment": "patient", "remembered": 0}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'plan', '{"experiment_id": "1"}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'select', '{"best": {"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, "metrics": {"val_f1_score": 0.55}, "ranking": [{"rows": 100, "run_id": "r0d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.5}, "model_id": "m-0d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 100, "run_id": "r0l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.52}, "model_id": "m-0l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 200, "run_id": "r1l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.54}, "model_id": "m-1l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}]}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'publish', '{"reasons": ["no model in production yet"], "version": "1", "decision": "published", "previous": null, "f1_difference": null, "parity_max_difference": 0.0000001}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'store', '{"rows": {"batch_0": 100, "batch_1": 100, "test_raw": 40, "validation_raw": 40}, "views": ["train_cumulative_0", "train_cumulative_1"]}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('20261120_050000_000', 'train', '{"models": [{"rows": 100, "run_id": "r0d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.5}, "model_id": "m-0d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 100, "run_id": "r0l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.52}, "model_id": "m-0l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 200, "run_id": "r1l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.54}, "model_id": "m-1l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}]}', '2026-11-20 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'download', '{"path": "data.csv", "sha256": "ab"}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'train set 1', '{"models": [{"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 200, "run_id": "r1l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.54}, "model_id": "m-1l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}]}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'published model', '{"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'split', '{"seed": 42, "sizes": {"test": 40, "train": 200, "validation": 40}, "batches": 2, "grouping": "patient", "assignment": "patient", "remembered": 0}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'clean', '{"rows": {"train_clean": 200}}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'plan', '{"experiment_id": "1"}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'select', '{"best": {"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, "metrics": {"val_f1_score": 0.55}, "ranking": [{"rows": 100, "run_id": "r0d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.5}, "model_id": "m-0d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 100, "run_id": "r0l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.52}, "model_id": "m-0l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 200, "run_id": "r1l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.54}, "model_id": "m-1l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}]}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'publish', '{"reasons": ["no model in production yet"], "version": "1", "decision": "published", "previous": null, "f1_difference": null, "parity_max_difference": 0.0000001}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'store batches', '{"rows": {"batch_0": 100, "batch_1": 100}, "views": []}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'store views', '{"rows": {}, "views": ["train_cumulative_0", "train_cumulative_1"]}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'store holdout', '{"rows": {"test_raw": 40, "validation_raw": 40}, "views": []}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'train set 0', '{"models": [{"rows": 100, "run_id": "r0d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.5}, "model_id": "m-0d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 100, "run_id": "r0l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.52}, "model_id": "m-0l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}]}', '2026-11-21 06:00:00+00');
INSERT INTO public.stage_results VALUES ('manual_2026_11_21_ab12cd34', 'train', '{"models": [{"rows": 200, "run_id": "r1d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.55}, "model_id": "m-1d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 200, "run_id": "r1l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.54}, "model_id": "m-1l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 1}, {"rows": 100, "run_id": "r0l", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.52}, "model_id": "m-0l", "model_type": "logistic_regression", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}, {"rows": 100, "run_id": "r0d", "metrics": {"val_roc_auc": 0.7, "val_f1_score": 0.5}, "model_id": "m-0d", "model_type": "decision_tree", "n_features": 3, "trained_at": "2026-11-20T05:30:00+00:00", "fit_seconds": 0.5, "cumulative_idx": 0}]}', '2026-11-21 06:00:00+00');
INSERT INTO public.swaps VALUES ('manual_2026_11_21_ab12cd34', '2026-11-21 05:30:00+00');
SELECT pg_catalog.setval('public.promotions_id_seq', 2, true);
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT executions_pkey PRIMARY KEY (execution);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT feedback_pkey PRIMARY KEY (prediction_id);
ALTER TABLE ONLY public.predictions
    ADD CONSTRAINT predictions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT promotions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.stage_results
    ADD CONSTRAINT stage_results_pkey PRIMARY KEY (execution, stage);
ALTER TABLE ONLY public.swaps
    ADD CONSTRAINT swaps_pkey PRIMARY KEY (execution);
CREATE INDEX predictions_at ON public.predictions USING btree (at);
ALTER TABLE ONLY public.stage_results
    ADD CONSTRAINT stage_results_execution_fkey FOREIGN KEY (execution) REFERENCES public.executions(execution) ON DELETE CASCADE;
