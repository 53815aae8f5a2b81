"""Reading untrusted files safely; writing our own atomically."""
