"""The console: one page over the client library and the media gateway."""
