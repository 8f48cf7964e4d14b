"""OpenAPI: documents and a reference page, built from the routes once, at start."""
