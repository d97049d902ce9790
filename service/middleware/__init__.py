"""What every request passes before its route. Pure ASGI; order: request_id, turns, auth, limits."""
