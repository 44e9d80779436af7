"""The prediction API: app factory, data plane, scorer, model store, telemetry."""
