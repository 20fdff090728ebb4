"""One round on the server as pure functions: no file, no network, no clock."""
