"""The API over HTTP: connections, middleware, routes, bodies, problems, keys and limits."""
