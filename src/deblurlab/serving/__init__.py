"""Web page and HTTP API."""
