"""Programs that tests run under a kernel of its own (`tests.support.uml`)."""
